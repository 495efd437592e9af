"""Sending: template mail and statements through SES, with a result for every recipient."""
