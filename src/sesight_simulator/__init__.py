"""A simulated SES on loopback, and realistic traffic with known totals."""
