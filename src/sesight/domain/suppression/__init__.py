"""Suppression: what an item is, which events and which people put an address on a list, and the CSV form of a list."""
