"""Posts events to intake as signed SNS notifications, each when it is due."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable

from sesight_simulator.ses.events import SesEvent
from sesight_simulator.sns import Signer
from sesight_simulator.sns_client import SnsClient

RETRIES = 3_000
"""Retries before a notification is given up: at one every 200 ms, ten minutes."""


class EventPublisher:
    """A queue of events by time, drained by an SNS client. Use it on one event loop.

    `on_done` receives the last HTTP status of each notification, None where it was given up.
    """

    def __init__(
        self, url: str, signer: Signer, connections: int, on_done: Callable[[int | None], None]
    ) -> None:
        self._client = SnsClient(url, connections, retries=RETRIES)
        self._signer = signer
        self._on_done = on_done
        self._queue: list[tuple[float, int, SesEvent]] = []
        self._count = 0
        self._changed = asyncio.Event()

    def add(self, events: list[SesEvent], delays_ms: list[int]) -> None:
        """Publish each event after its delay."""
        now = asyncio.get_running_loop().time()
        for event, delay_ms in zip(events, delays_ms, strict=True):
            self._count += 1
            heapq.heappush(self._queue, (now + delay_ms / 1_000, self._count, event))
        self._changed.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        await self._client.post(self._notifications(), self._on_done)

    async def _notifications(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            wait = self._queue[0][0] - loop.time() if self._queue else None
            if wait is not None and wait <= 0:
                yield self._signer.sign(heapq.heappop(self._queue)[2].body)
                continue
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue
