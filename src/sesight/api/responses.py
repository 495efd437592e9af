"""What every read carries beside its data, and the shape of lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import TypeVar

from msgspec import Struct
from msgspec.json import encode as to_json

from sesight.api.dependencies import IntakeState, Services
from sesight.domain.timestamps import DAY, iso

_Page = TypeVar("_Page")


class Missing(Struct, frozen=True, rename="camel", kw_only=True):
    """A part of the answer that is not there: which, why (a code), what the answer covers `of` all
    (recipients; null: not known), and from when on.
    """

    part: str
    reason: str
    as_of: str | None = None
    covered: int | None = None
    of: int | None = None


class Meta(Struct, frozen=True, rename="camel", kw_only=True):
    """How far the answer can be trusted. `newestEventAt` is when the newest event was taken in;
    records sent before `detailFrom` are no longer kept one by one (null: all are); `simulated`: of
    made-up traffic; `partial` names what is missing.
    """

    provider: str
    streams: list[str]
    generated_at: str
    newest_event_at: str | None
    intake: IntakeState
    retention_days: int
    detail_from: str | None
    simulated: bool
    partial: list[Missing]


class Total(Struct, frozen=True):
    """How many recipients the list has. Not `exact`, it is at least so many: rows that are not counted
    are in the list too (nobody's, or a test recipient's), part of what was asked for is past retention,
    or several streams may have the same.
    """

    value: int
    exact: bool


def detail_from(services: Services) -> int | None:
    """Return the send time (ms) from which on records are held, None if all are."""
    live = services.retention.live_from(services.clock())
    return live * DAY if live > 0 else None


def meta_of(
    services: Services,
    streams: Sequence[str],
    *,
    provider: str | None = None,
    partial: Sequence[Missing] = (),
) -> Meta:
    """Return the meta of an answer over the streams."""
    return Meta(
        provider=provider or services.provider,
        streams=list(streams),
        generated_at=iso(services.clock()) or "",
        newest_event_at=iso(services.store.newest_at()),
        intake=services.intake().state,
        retention_days=services.retention.days,
        detail_from=iso(detail_from(services)),
        simulated=services.simulated,
        partial=list(partial),
    )


def weight(row: object) -> int:
    """Return the bytes that a row takes in an answer of a function: text, within JSON once more."""
    return len(json.dumps(row if isinstance(row, str) else to_json(row).decode()))


def fitting(
    room: int | None,
    limit: int,
    read: Callable[[int], _Page],
    weights: Callable[[_Page], Iterable[int]],
) -> tuple[_Page, bool]:
    """Read a page of `limit` rows, or of as many as take no more than `room` bytes (None: any number),
    but of one at least. Return it, and whether it is cut for that.

    Such a page is read again with fewer rows, since only the store knows the cursor after a row.
    """
    size = limit
    while True:
        page = read(size)
        if room is None:
            return page, False
        ends = list(accumulate(weights(page)))
        fit = sum(end <= room for end in ends)
        if fit == len(ends) or size == 1:
            return page, size < limit
        size = max(fit, 1)
