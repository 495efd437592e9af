"""The health of intake, for people: whether events arrive, and what somebody should do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from sesight.domain.timestamps import HOUR, iso
from sesight.ingest.http.refusals import PASSING, advice

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


class Health(NamedTuple):
    """Whether intake works, and why one may think so: at least one sentence."""

    state: Literal["ok", "late", "quiet"]
    sentences: list[str]


class Seen(NamedTuple):
    """What there is to see of intake: when the newest event was taken in (ms), how many requests
    are under way (None: nobody takes any) of how many at most, and bodies quarantined by reason.
    """

    newest_at: int | None
    waiting: int | None
    limit: int
    quarantined: Mapping[str, int]


def health(seen: Seen, metrics: Metrics, now: int) -> Health:
    """Judge intake at `now` (ms) by what the store and the process's metrics say."""
    newest_at = seen.newest_at
    quiet = newest_at is None or now - newest_at > QUIET_MS
    refusing = metrics.refused_at is not None and now - metrics.refused_at < LATE_MS
    crowded = seen.waiting is not None and seen.waiting > seen.limit // 2
    sentences = [_arrival(newest_at, now, quiet=quiet)]
    if refusing:
        sentences.append("Requests were refused within the last minute; their senders try again.")
    if crowded:
        sentences.append(f"{seen.waiting} requests wait to be stored.")
    sentences += [*_refused(metrics, now), *_quarantined(seen.quarantined)]
    return Health("late" if refusing or crowded else "quiet" if quiet else "ok", sentences)


def _arrival(newest_at: int | None, now: int, *, quiet: bool) -> str:
    if newest_at is None:
        return "No event has been taken in yet."
    begin = "No event arrives" if quiet else "Events arrive"
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
