"""Replay: feed stored events through the pipeline again."""
