"""The quarantine as the API and the command line list it."""

from __future__ import annotations

from msgspec import Struct

from sesight.domain.errors import InvalidParameter
from sesight.domain.quarantine import QUARANTINE_REASONS
from sesight.domain.timestamps import iso
from sesight.services import Services
from sesight.services.answers import Meta, Missing, Total, meta_of
from sesight.services.query import DEFAULT_LIMIT


class QuarantineEntry(Struct, frozen=True, rename="camel", kw_only=True):
    """A trusted body that could not be understood or routed. Its text may hold addresses, so only
    `sesight quarantine show ID` shows it.
    """

    id: str
    reason: str
    detail: str
    at: str
    bytes: int
    message_id: str | None
    name: str | None


class QuarantineList(Struct, frozen=True, rename="camel", kw_only=True):
    """The newest quarantined bodies, up to `limit`. `total` counts all bodies of the reason; `meta.partial` has
    `older-bodies` if there are more.
    """

    data: list[QuarantineEntry]
    total: Total | None
    next_cursor: str | None
    newer_cursor: str | None
    searched_to: str | None
    meta: Meta


def list_quarantine(
    services: Services, reason: str | None = None, limit: int | None = None
) -> QuarantineList:
    """Return the newest quarantined bodies, of one reason or of all. Raises InvalidParameter."""
    counts = services.store.quarantine_counts()
    known = sorted({*QUARANTINE_REASONS, *counts})
    if reason is not None and reason not in known:
        raise InvalidParameter("reason", f"reason: there is no {reason!r}.", allowed=known)
    bodies = services.store.quarantine(limit or DEFAULT_LIMIT, reason)
    total = counts.get(reason, 0) if reason is not None else sum(counts.values())
    older = [
        Missing(
            part="quarantine",
            reason="older-bodies",
            as_of=iso(bodies[-1].at),
            covered=len(bodies),
            of=total,
        )
        for _ in bodies[:1]
        if total > len(bodies)
    ]
    return QuarantineList(
        data=[
            QuarantineEntry(
                id=body.id,
                reason=body.reason,
                detail=body.detail,
                at=iso(body.at) or "",
                bytes=len(body.body),
                message_id=body.message_id,
                name=body.name,
            )
            for body in bodies
        ],
        total=Total(total, exact=True),
        next_cursor=None,
        newer_cursor=None,
        searched_to=None,
        meta=meta_of(services, list(services.counting.streams), partial=older),
    )
