"""Realistic traffic with known totals, and a local SES that publishes signed events."""
