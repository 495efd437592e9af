"""Realistic traffic that counts its own true totals."""
