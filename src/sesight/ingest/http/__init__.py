"""Intake over HTTP: verify notifications, and commit them in a process of its own."""
