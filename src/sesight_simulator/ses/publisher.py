"""The publisher: brings events to intake as signed notifications, each when it is due."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable

from sesight_simulator.ses.events import SesEvent
from sesight_simulator.sns import Signer
from sesight_simulator.sns_client import Poster

RETRIES = 3_000
"""Tries again before a notification is given up: with one every 200 ms, ten minutes."""


class Publisher:
    """A queue of events by time, drained by a poster. To be used on one loop."""

    def __init__(
        self, url: str, signer: Signer, connections: int, done: Callable[[int | None], None]
    ) -> None:
        """`done` is told the last status of each notification, None where it was given up."""
        self._poster = Poster(url, connections, retries=RETRIES)
        self._signer = signer
        self._done = done
        self._due: list[tuple[float, int, SesEvent]] = []
        self._number = 0
        self._changed = asyncio.Event()

    def add(self, events: list[SesEvent], wait_ms: list[int]) -> None:
        """Publish events, each so many ms from now."""
        now = asyncio.get_running_loop().time()
        for event, wait in zip(events, wait_ms, strict=True):
            self._number += 1
            heapq.heappush(self._due, (now + wait / 1_000, self._number, event))
        self._changed.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        await self._poster.post(self._signed(), self._done)

    async def _signed(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            wait = self._due[0][0] - loop.time() if self._due else None
            if wait is not None and wait <= 0:
                yield self._signer.sign(heapq.heappop(self._due)[2].body)
                continue
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue
