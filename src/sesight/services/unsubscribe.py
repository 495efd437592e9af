"""Unsubscribe links at work: the message a link was in, and what becomes of who opens it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

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


class Opened(Protocol):
    """A link that was read."""

    @property
    def leave(self) -> UnsubscribeTarget:
        """What it stands for."""
        ...

    @property
    def sender(self) -> str:
        """Who sent the message, for people."""
        ...


class Leaving:
    """What a page of a link asks for. Safe to use from any thread."""

    def __init__(
        self,
        read: Callable[[str], Opened],
        store: Store,
        streams: Mapping[str, Stream],
        clock: Clock,
        take: Callable[[Event], Awaitable[None]],
    ) -> None:
        """Keep how a token is read (it raises NotFound, StoreUnavailable), the store, the streams, the
        clock, and what takes an event in: durable when it is over, else it raises StoreUnavailable.
        """
        self._read = read
        self._store = store
        self._streams = streams
        self._clock = clock
        self._take = take

    def read(self, token: str) -> tuple[UnsubscribeTarget, Stream, str]:
        """Return what a token stands for, its stream, and who sent the message.

        Raises NotFound, StoreUnavailable.
        """
        opened = self._read(token)
        stream = self._streams.get(opened.leave.stream)
        if stream is None:
            raise NotFound("Mail of this kind is not sent any more.")
        return opened.leave, stream, opened.sender

    def has_left(self, leave: UnsubscribeTarget) -> bool:
        """Return whether the address has left the stream, by whatever message.

        Raises StoreUnavailable.
        """
        return has_unsubscribed(self._store.suppression(leave.stream, leave.address), None)

    async def leave(self, leave: UnsubscribeTarget) -> None:
        """Let the address leave the stream; durable when it is over. Done already, nothing is written.

        Raises StoreUnavailable.
        """
        event = await asyncio.to_thread(self._event, leave)
        if event is not None:
            await self._take(event)

    def _event(self, leave: UnsubscribeTarget) -> Event | None:
        record = self._record(leave)
        if has_unsubscribed(self._store.suppression(leave.stream, leave.address), record):
            return None
        return unsubscribe_event(leave, self._streams[leave.stream], record, self._clock())

    def _record(self, leave: UnsubscribeTarget) -> Record | None:
        """Return the record of the message that had the link, if it is held."""
        return find_by_send_id(
            self._store,
            leave.stream,
            leave.address,
            leave.send_id,
            since=(leave.day - 1) * DAY,
            until=(leave.day + 2) * DAY,
            now=self._clock(),
        )
