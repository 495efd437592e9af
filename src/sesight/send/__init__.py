"""Sending: template mail and financial reports through SES, told truthfully."""
