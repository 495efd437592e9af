"""Statements: monthly financial reports as mail, PDF and CSV."""
