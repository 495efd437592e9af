"""Unsubscribe links: which message a link was in, and the unsubscribing itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from sesight.domain.errors import NotFound
from sesight.domain.stream import Stream
from sesight.domain.timestamps import DAY
from sesight.domain.unsubscribe import (
    UnsubscribeTarget,
    has_unsubscribed,
    unsubscribe_event,
)
from sesight.services.sent_messages import find_by_send_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sesight.domain.event import Event
    from sesight.domain.ports import Clock, Store
    from sesight.domain.record import Record
    from sesight.send.unsubscribe_link import UnsubscribeLinks


class UnsubscribeService:
    """What the page and the button of an unsubscribe link do. Safe to use from any thread."""

    def __init__(
        self,
        links: UnsubscribeLinks,
        store: Store,
        streams: Mapping[str, Stream],
        clock: Clock,
        commit: Callable[[Event], Awaitable[None]],
    ) -> None:
        """Create the service; `commit` makes an event durable, or raises StoreUnavailable."""
        self._links = links
        self._store = store
        self._streams = streams
        self._clock = clock
        self._commit = commit

    def read(self, token: str) -> tuple[UnsubscribeTarget, Stream, str]:
        """Return what a token stands for: the target, its stream, and the sender's name.

        Raises NotFound, StoreUnavailable.
        """
        link = self._links.read(token)
        stream = self._streams.get(link.target.stream)
        if stream is None:
            raise NotFound("Mail of this kind is not sent any more.")
        return link.target, stream, link.sender

    def is_unsubscribed(self, target: UnsubscribeTarget) -> bool:
        """Return whether the address has unsubscribed from the stream, by whatever message.

        Raises StoreUnavailable.
        """
        return has_unsubscribed(self._store.suppression(target.stream, target.address), None)

    async def unsubscribe(self, target: UnsubscribeTarget) -> None:
        """Unsubscribe the address; durable when it returns. If it has already, nothing is written.

        Raises StoreUnavailable.
        """
        event = await asyncio.to_thread(self._event, target)
        if event is not None:
            await self._commit(event)

    def _event(self, target: UnsubscribeTarget) -> Event | None:
        record = self._record(target)
        if has_unsubscribed(self._store.suppression(target.stream, target.address), record):
            return None
        return unsubscribe_event(target, self._streams[target.stream], record, self._clock())

    def _record(self, target: UnsubscribeTarget) -> Record | None:
        """Return the record of the message that had the link, if it is still kept. It is sought on three
        days, since the clock that made the link may be off.
        """
        return find_by_send_id(
            self._store,
            target.stream,
            target.address,
            target.send_id,
            since=(target.day - 1) * DAY,
            until=(target.day + 2) * DAY,
            now=self._clock(),
        )
