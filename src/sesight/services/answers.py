"""What every answer to a read carries beside its data, and how pages are cut to a size in bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Literal, TypeVar

from msgspec import Struct
from msgspec.json import encode as to_json

from sesight.domain.timestamps import DAY, iso
from sesight.services import Services

IntakeState = Literal["ok", "late", "quiet"]
"""late: requests wait or are refused; quiet: no event has come for a while, expected or not."""

_PageT = TypeVar("_PageT")


class Missing(Struct, frozen=True, rename="camel", kw_only=True):
    """A part that the answer lacks, and the reason (a code). The answer covers `covered` of `of`
    recipients (null: unknown), from `asOf` on.
    """

    part: str
    reason: str
    as_of: str | None = None
    covered: int | None = None
    of: int | None = None


class Meta(Struct, frozen=True, rename="camel", kw_only=True):
    """How far the answer can be trusted. `newestEventAt` is the time of intake of the newest event.
    Single records are kept for messages sent from `detailFrom` on (null: all are). `simulated`: the data
    may contain simulated traffic. `partial` lists what the answer lacks.
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
    """The number of recipients in the list. Without `exact` it is a lower bound: the list has rows that are
    not counted (unattributed ones, test recipients), a part is past retention, or several streams may
    have the same address.
    """

    value: int
    exact: bool


def meta_of(
    services: Services,
    streams: Sequence[str],
    *,
    provider: str | None = None,
    partial: Sequence[Missing] = (),
) -> Meta:
    """Return the meta of an answer over the streams."""
    now = services.clock()
    first_day = services.store.live_from(now)
    return Meta(
        provider=provider or services.provider,
        streams=list(streams),
        generated_at=iso(now) or "",
        newest_event_at=iso(services.store.newest_at()),
        intake=services.intake().state,
        retention_days=services.retention_days(),
        detail_from=iso(first_day * DAY) if first_day > 0 else None,
        simulated=services.simulated,
        partial=list(partial),
    )


def weight(row: object) -> int:
    """Return the bytes of a row in the answer of a Lambda function, where the body is a JSON string."""
    return len(json.dumps(row if isinstance(row, str) else to_json(row).decode()))


def fitting(
    limit_bytes: int | None,
    limit: int,
    read: Callable[[int], _PageT],
    weights: Callable[[_PageT], Iterable[int]],
) -> tuple[_PageT, bool]:
    """Read a page of `limit` rows, or of as many as take at most `limit_bytes` (None: any number), but of
    at least one row. Return the page, and whether it was cut.

    A page that is too large is read again with fewer rows, because only the store knows the cursor after
    a row.
    """
    size = limit
    while True:
        page = read(size)
        if limit_bytes is None:
            return page, False
        ends = list(accumulate(weights(page)))
        fit = sum(end <= limit_bytes for end in ends)
        if fit == len(ends) or size == 1:
            return page, size < limit
        size = max(fit, 1)
