"""Simulated traffic: SES events of made-up campaigns, with their true totals."""
