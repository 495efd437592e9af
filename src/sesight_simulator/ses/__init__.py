"""A local SES: it obeys SES's rules, keeps what it accepts and publishes signed events."""
