"""SES JSON to events: the only reader of SES's field names."""
