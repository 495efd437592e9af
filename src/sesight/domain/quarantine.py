"""Quarantine: trusted bodies that could not be understood or routed."""

from __future__ import annotations

from msgspec import Struct

QUARANTINE_REASONS = (
    "future-send-time",
    "malformed",
    "no-body",
    "no-message-id",
    "no-send-time",
    "not-an-event",
    "not-json",
    "too-deep",
    "too-large",
    "too-many-items",
    "too-many-recipients",
    "unknown-account",
    "unknown-set",
    "unknown-type",
    "unrouted",
)
"""All reasons for which a body is quarantined (explained in docs/ses-analytics-pipeline.md)."""

QUARANTINE_BODIES = 10_000
QUARANTINE_BYTES = 64 << 20
"""The number of bodies, and of their bytes, that the quarantine holds for one reason."""


class Quarantined(Struct, frozen=True, gc=False, array_like=True):
    """A trusted body that could not be understood or routed, with the reason and a sentence.

    `id` is a hash of the body, so a body is kept once: if it is quarantined again, its reason, detail and
    event are replaced and the first time `at` stays. `message_id` is set for `unrouted` and `unknown-set`,
    `name` is the configuration set of the latter, and `event` the event that was read (msgpack of
    `sesight.domain.event.Event`), which is folded later.
    """

    id: str
    reason: str
    detail: str
    body: bytes
    at: int
    message_id: str | None = None
    name: str | None = None
    event: bytes | None = None
