"""Suppressions changed over HTTP while the server's other process commits events."""

import asyncio
import json
from itertools import count

from sesight.services.recount import recount
from sesight.store import open_store
from tests.server.harness import COUNTING, Line, Posted, Traffic, posting, request, running

TOGETHER = 20
"""Addresses of one change."""


def change(path: str, **body: object) -> bytes:
    """Return a request that changes suppressions."""
    return request(
        json.dumps(body).encode(), f"/api/suppressions{path}", content_type="application/json"
    )


def test_changes_while_events_come_in(tmp_path, signer) -> None:
    """Both processes write at once: every event and every change is taken, all of it is there
    afterwards, and the counts of suppressed addresses are what the items say.
    """
    traffic = Traffic.made(signer, seed=7, messages=1_200, campaigns=4)
    added: list[str] = []

    async def changing(port: int, task: "asyncio.Task[Posted]") -> None:
        line = Line(port)
        try:
            for n in count():
                if task.done() and n >= 5:
                    return
                some = [f"{n}-{i}@added.example" for i in range(TOGETHER)]
                answer = await line.ask(change("", addresses=some))
                assert answer.status == 200, answer.body
                assert json.loads(answer.body)["counts"] == {"added": TOGETHER}
                gone = await line.ask(change("/remove", addresses=some[:1], note="a mistake"))
                assert json.loads(gone.body)["counts"] == {"removed": 1}
                added.extend(some[1:])
        finally:
            line.close()

    async def both(port: int) -> Posted:
        task = asyncio.create_task(posting(port, traffic.notifications, 16))
        await changing(port, task)
        return await task

    with running(tmp_path, signer) as server:
        posted = asyncio.run(both(server.port))
    assert posted.statuses == {200: len(traffic.bodies)}
    store = open_store(server.url)
    held = {name: store.suppressions_of(name, added) for name in COUNTING.streams}
    assert all(held[name][each].counted for name in held for each in added)
    found = recount(store, COUNTING, store.newest_at() or 0, tuple(COUNTING.streams))
    store.close()
    assert not found.differences
    assert not found.unchecked
