"""The HTTP API: routes, query parsing and the shapes of its answers."""
