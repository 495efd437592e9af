"""What a stream's suppression list takes over: from the other streams' lists when the stream is new, and
from keys that an earlier version made.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from sesight.domain.address import other_keys
from sesight.domain.record import least
from sesight.domain.suppression.item import Cause, Removal, Suppression, SuppressionScope
from sesight.domain.suppression.manual import InheritSuppression
from sesight.domain.suppression.policy import streams_in_scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sesight.domain.stream import Stream

LIST_VERSION = 1
"""The version of a list that has taken over everything. Raise it when keys change."""


def inherit_commands(
    address: str, items: Sequence[Suppression], streams: Mapping[str, Stream], new: Iterable[str]
) -> Iterator[InheritSuppression]:
    """Yield what new streams take over of an address, given its items in all streams."""
    for stream in new:
        own = [item for item in items if item.stream == stream]
        reaching = _reaching([item for item in items if item.stream != stream], stream, streams)
        found = [InheritSuppression(stream, address, *reaching)] if reaching is not None else []
        spelling = reduce(least, (item.spelling for item in items), None)
        for key in other_keys(address, spelling):
            found += [InheritSuppression(stream, key, item.causes, item.removals) for item in own]
            if reaching is not None:
                found.append(InheritSuppression(stream, key, *reaching))
        yield from found


def _reaching(
    items: Sequence[Suppression], stream: str, streams: Mapping[str, Stream]
) -> tuple[tuple[Cause, ...], tuple[Removal, ...]] | None:
    """Return the causes whose scope reaches a stream, and the removals that hold for them in every
    stream that has one of them: what still blocks somewhere blocks in the new stream.
    """
    causes = {
        cause.id: cause
        for item in items
        for cause in item.causes
        if cause.scope != SuppressionScope.STREAM
        and stream in streams_in_scope(cause.scope, cause.stream or "", streams)
    }
    if not causes:
        return None
    holders = [
        {removal.id: removal for removal in item.removals}
        for item in items
        if any(cause.id in causes for cause in item.causes)
    ]
    everywhere = set(holders[0]).intersection(*holders[1:])
    removals = [_narrowest([held[name] for held in holders]) for name in sorted(everywhere)]
    return tuple(causes.values()), tuple(removals)


def _narrowest(removals: Sequence[Removal]) -> Removal:
    """Return of one removal in several streams what all of them say."""
    first = removals[0]
    return Removal(
        min(each.at for each in removals),
        first.id,
        tuple(sorted(set(first.lifts).intersection(*(each.lifts for each in removals[1:])))),
        first.note,
        reduce(least, (each.restored_at for each in removals)),
        first.contact_list,
    )
