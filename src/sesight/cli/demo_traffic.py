"""The demo's traffic, in a process of its own: first its history, read; then live, over HTTP."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from sesight.ingest.reader import read
from sesight.ingest.reading import Reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from multiprocessing.connection import Connection

    from sesight_simulator.traffic.plan import Plan
    from sesight_simulator.traffic.traffic import Traffic

BATCH = 8_192
"""Readings handed over at once."""

CONNECTIONS = 2
"""Connections that live events come over."""

PAUSE = 0.2
"""Seconds between looks for events that are due."""


class HistoryBatch(Struct, array_like=True):
    """What is handed over: readings, and the share of the history that is done by then."""

    readings: list[Reading]
    done: float


class LiveRequest(Struct, frozen=True):
    """Where to post live events, signed by which key, and how many messages a second."""

    url: str
    folder: str
    rate: float


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(HistoryBatch).decode


def run(line: Connection, plan: Plan, known_sets: frozenset[str], *, filled: bool) -> None:
    """Hand the history over, unless it is there; wait for `LiveRequest`, then post until the end."""
    from sesight_simulator.traffic.campaigns import CampaignCalendar
    from sesight_simulator.traffic.plan import now_ms
    from sesight_simulator.traffic.traffic import Traffic

    try:
        if filled:
            traffic = Traffic(replace(plan, end=now_ms(), days=1, messages=0))
            for _ in traffic.history():
                pass
            traffic.calendar = CampaignCalendar(plan)  # the same people as before
        else:
            traffic = Traffic(plan)
            gc.disable()  # readings are dropped when they are handed over, none is cyclic
            for portion in _portions(traffic, known_sets):
                line.send_bytes(encode(portion))
            gc.enable()
        live = msgspec.msgpack.decode(line.recv_bytes(), type=LiveRequest)
    except (EOFError, BrokenPipeError):
        return  # the demo has ended
    asyncio.run(_post(traffic, live))


def _portions(traffic: Traffic, known_sets: frozenset[str]) -> Iterator[HistoryBatch]:
    plan, readings = traffic.plan, []
    for event in traffic.history():
        readings += read(event.body, "simulation", known_sets=known_sets)
        if len(readings) >= BATCH:
            yield HistoryBatch(readings, (event.at - plan.begin) / (plan.end - plan.begin))
            readings = []
    yield HistoryBatch(readings, 1.0)


async def _post(traffic: Traffic, live: LiveRequest) -> None:
    from pathlib import Path

    from sesight.cli.simulate import signer
    from sesight_simulator.sns_client import SnsClient

    by = signer(Path(live.folder))
    parent = multiprocessing.parent_process()
    coming = traffic.live(live.rate)

    async def due() -> AsyncIterator[bytes]:
        while parent is None or parent.is_alive():
            for event in coming.due():
                yield by.sign(event.body)
            await asyncio.sleep(PAUSE)

    await SnsClient(live.url, CONNECTIONS).post(due())
