"""Real payloads of tests/payloads, whole or with some of their fields changed."""

import json
from pathlib import Path
from typing import Any

PAYLOADS = Path(__file__).parent / "payloads"

GONE = object()
"""Changed to this, a field is taken out."""


def raw(name: str) -> bytes:
    """Return the bytes of a payload file."""
    return (PAYLOADS / name).read_bytes()


def payload(name: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a payload, its fields named by dotted paths (`mail.tags`) changed."""
    found: dict[str, Any] = json.loads(raw(f"{name}.json"))
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        inner = found
        for parent in parents:
            inner = inner.setdefault(parent, {})
        if value is GONE:
            inner.pop(last, None)
        else:
            inner[last] = value
    return found


def body(name: str, changes: dict[str, Any] | None = None) -> bytes:
    """Return a payload with changes as bytes."""
    return json.dumps(payload(name, changes)).encode()
