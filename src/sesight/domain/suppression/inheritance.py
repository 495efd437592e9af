"""Inheritance: what a stream's suppression list takes over from the lists of other streams when the stream
is new, and from keys under which an earlier version of Sesight kept addresses.
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
"""The version of a list that has taken over everything. Raise it when the keys of addresses change."""


def inherit_commands(
    address: str, items: Sequence[Suppression], streams: Mapping[str, Stream], new: Iterable[str]
) -> Iterator[InheritSuppression]:
    """Yield the commands by which new streams take over what is known of an address, given its items in
    all streams.
    """
    spelling = reduce(least, (item.spelling for item in items), None)
    for stream in new:
        own = [item for item in items if item.stream == stream]
        shared = _shared([item for item in items if item.stream != stream], stream, streams)
        if shared is not None:
            yield InheritSuppression(stream, address, *shared)
        for key in other_keys(address, spelling):
            for item in own:
                yield InheritSuppression(stream, key, item.causes, item.removals)
            if shared is not None:
                yield InheritSuppression(stream, key, *shared)


def _shared(
    items: Sequence[Suppression], stream: str, streams: Mapping[str, Stream]
) -> tuple[tuple[Cause, ...], tuple[Removal, ...]] | None:
    """Return the causes whose scope includes a stream, and the removals that every stream with such a
    cause has. So a cause that still blocks in one stream blocks in the new stream. None without a cause.
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
    removals_by_item = [
        {removal.id: removal for removal in item.removals}
        for item in items
        if any(cause.id in causes for cause in item.causes)
    ]
    common = set(removals_by_item[0]).intersection(*removals_by_item[1:])
    removals = [
        _narrowest([removals[id_] for removals in removals_by_item]) for id_ in sorted(common)
    ]
    return tuple(causes.values()), tuple(removals)


def _narrowest(removals: Sequence[Removal]) -> Removal:
    """Return one removal, as several streams have it, with only what all of them lift."""
    first = removals[0]
    return Removal(
        min(removal.at for removal in removals),
        first.id,
        tuple(sorted(set(first.lifts).intersection(*(removal.lifts for removal in removals[1:])))),
        first.note,
        reduce(least, (removal.restored_at for removal in removals)),
        first.contact_list,
    )
