"""Templates: folders of files that render messages."""
