"""A local SES that obeys SES's rules and publishes signed events."""
