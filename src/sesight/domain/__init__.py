"""The pure rules: what happened to a message, what it counts as and whom not to send to."""
