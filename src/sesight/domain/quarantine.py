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
"""Why a body is quarantined: all codes there are (docs/ses-analytics-pipeline.md says what they mean)."""

QUARANTINE_BODIES = 10_000
QUARANTINE_BYTES = 64 << 20
"""Bodies, and their bytes, that the quarantine holds of one reason."""


class Quarantined(Struct, frozen=True, gc=False, array_like=True):
    """A trusted body that was not understood or not routed, with the reason's code and a sentence.

    `id` is a hash of the body, so that one body is kept once: quarantined again it takes what is said
    of it now (reason, detail, event …) and keeps the time `at` of the first. `message_id` is known for `unrouted`
    and `unknown-set`; `name` is the configuration set of the latter; `event` the event already read
    (msgpack of `sesight.domain.event.Event`), by which the body is folded later.
    """

    id: str
    reason: str
    detail: str
    body: bytes
    at: int
    message_id: str | None = None
    name: str | None = None
    event: bytes | None = None
