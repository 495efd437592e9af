"""The health of intake, for people: whether events arrive, and what somebody should do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from sesight.domain.timestamps import HOUR, iso
from sesight.ingest.http.refusals import PASSING, advice
from sesight.services import Services
from sesight.services.answers import IntakeState, Meta, meta_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sesight.ingest.metrics import Metrics

MINUTE = 60_000

QUIET_MS = 15 * MINUTE
"""Without an event for so long, intake is called quiet."""

LATE_MS = MINUTE
"""A request refused with 5xx makes intake late for so long."""

_QUARANTINED = {
    "unrouted": "{n} events wait for their message: they name no configuration set.",
    "unknown-set": (
        "{n} events are of configuration sets that no stream has: "
        "add a stream or list the sets in intake.ignore_sets, then `sesight quarantine retry`."
    ),
    "unknown-account": "{n} events are of AWS accounts that intake.accounts does not name.",
}
_NOT_UNDERSTOOD = "{n} bodies were not understood ({reason}): see `sesight quarantine list`."


class IntakeStatus(Struct, frozen=True, kw_only=True):
    """Whether intake works, in at least one sentence for people. `dispositions` and `refusals` count since
    the process started (None: no single process counts them); `waiting` requests are not yet stored
    (None: this process takes none).
    """

    state: IntakeState = "quiet"
    sentences: list[str] = []
    dispositions: dict[str, int] | None = {}
    refusals: dict[str, int] | None = {}
    waiting: int | None = None


class IntakeHealth(Struct, frozen=True, rename="camel", kw_only=True):
    """Whether intake works. `sentences` are for people. Dispositions, and refusals by reason, count since the
    process started (null on Lambda, where many processes take events in); `waiting` requests are
    queued (null: there is no queue); `store` is where events are kept.
    """

    state: IntakeState
    sentences: list[str]
    newest_event_at: str | None
    dispositions: dict[str, int] | None
    refusals: dict[str, int] | None
    waiting: int | None
    quarantined: dict[str, int]
    store: str
    meta: Meta


def intake_health(services: Services) -> IntakeHealth:
    """Return whether intake works, in sentences and counts."""
    status = services.intake()
    return IntakeHealth(
        state=status.state,
        sentences=status.sentences,
        newest_event_at=iso(services.store.newest_at()),
        dispositions=status.dispositions,
        refusals=status.refusals,
        waiting=status.waiting,
        quarantined=services.store.quarantine_counts(),
        store=services.store_url,
        meta=meta_of(services, list(services.counting.streams)),
    )


def intake_status(
    *,
    newest_at: int | None,
    waiting: int | None,
    limit: int,
    quarantined: Mapping[str, int],
    metrics: Metrics,
    now: int,
) -> IntakeStatus:
    """Return the state of intake at `now` (ms).

    `newest_at` is the time of intake of the newest event (ms); `waiting` requests, of at most `limit`, are
    not yet stored; `quarantined` counts bodies by reason; `metrics` are those of this process.
    """
    is_quiet = newest_at is None or now - newest_at > QUIET_MS
    is_refusing = metrics.refused_at is not None and now - metrics.refused_at < LATE_MS
    is_crowded = waiting is not None and waiting > limit // 2
    sentences = [_arrival(newest_at, now, is_quiet=is_quiet)]
    if is_refusing:
        sentences.append("Requests were refused within the last minute; their senders will retry.")
    if is_crowded:
        sentences.append(f"{waiting} requests are waiting to be stored.")
    sentences += [*_refused(metrics, now), *_quarantined(quarantined)]
    return IntakeStatus(
        state="late" if is_refusing or is_crowded else "quiet" if is_quiet else "ok",
        sentences=sentences,
        dispositions=dict(metrics.dispositions),
        refusals=dict(metrics.refused),
        waiting=waiting,
    )


def without_counts(status: IntakeStatus, where: str) -> IntakeStatus:
    """Return the status of a function: one container's counts say nothing about the others. `where` tells
    people where the counts are.
    """
    return IntakeStatus(
        state=status.state,
        sentences=[*status.sentences, where],
        dispositions=None,
        refusals=None,
        waiting=None,
    )


def _arrival(newest_at: int | None, now: int, *, is_quiet: bool) -> str:
    if newest_at is None:
        return "No event has been taken in yet."
    begin = "No event arrives" if is_quiet else "Events arrive"
    return f"{begin}; the newest was taken in {_ago(now - newest_at)}."


def _ago(ms: int) -> str:
    if ms < MINUTE:
        return "less than a minute ago"
    for unit, size, most in (("minute", MINUTE, 120), ("hour", HOUR, 48)):
        if ms < most * size:
            n = ms // size
            return f"{n} {unit}{'' if n == 1 else 's'} ago"
    return f"{ms // (24 * HOUR)} days ago"


def _refused(metrics: Metrics, now: int) -> Iterator[str]:
    if metrics.unsubscribed_at is not None:
        yield (
            f"SNS said at {iso(metrics.unsubscribed_at)} that a subscription to this server has "
            "ended, and no other was confirmed since. If none of yours ended it, subscribe again: "
            "Sesight never does by itself."
        )
    for reason, n in sorted(metrics.refused_within(60, now).items()):
        if reason not in PASSING:
            yield f"Refused within the last hour as {reason}: {n}. {advice(reason)}"


def _quarantined(counts: Mapping[str, int]) -> Iterator[str]:
    for reason, n in sorted(counts.items()):
        yield _QUARANTINED.get(reason, _NOT_UNDERSTOOD).format(n=n, reason=reason)
