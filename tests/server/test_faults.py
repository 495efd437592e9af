"""Power cuts, full disks, locked files, stops: what was acknowledged is there, once; the rest is refused."""

import asyncio
import os
import random
import resource
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sesight.ingest.reader import read
from sesight.server import listen
from tests.server.harness import (
    PATIENCE,
    Posted,
    Server,
    Traffic,
    as_truth,
    post,
    posting,
    request,
    running,
    true_days,
    until,
)

KILLS = 20
"""How often the server is killed in the middle of its work."""


def told_by(bodies: Iterable[bytes]) -> dict[tuple[str, str], set[Any]]:
    """What SES events say happened, by message and recipient."""
    told: dict[tuple[str, str], set[Any]] = {}
    for body in bodies:
        (reading,) = read(body, "test")
        for report in reading.event.reports:
            key = reading.event.message_id, report.recipient
            told.setdefault(key, set()).add(report.occurrence)
    return told


def post_until(server: Server, notifications: list[bytes], enough, then) -> Posted:
    """Post from 16 connections; call `then` once `enough(posted)`, in the middle of it."""
    done = False

    def told(posted: Posted) -> None:
        nonlocal done
        if not done and enough(posted):
            done = True
            then()

    posted = asyncio.run(posting(server.port, notifications, 16, told))
    assert done, "it was over before the middle"
    return posted


def test_twenty_kills_in_the_middle_of_load_lose_nothing_and_count_nothing_twice(
    tmp_path, signer
) -> None:
    """Of the server and of its writer in turn: without the one the other ends by itself. After each
    restart every acknowledged event is in the store; the totals are those of its records; nothing
    is in it that was not sent. In the end all is posted again: the truth.
    """
    traffic = Traffic.made(signer, seed=6, messages=900, campaigns=4)
    places = random.Random(6)
    server = Server(tmp_path, signer)
    total = len(traffic.notifications)
    acknowledged: set[int] = set()
    begun, midway = 0, 0
    try:
        for kill in range(KILLS):
            server.start()
            # what was sent and not answered last time is sent again with what comes next
            share = list(range(begun, min(total, begun + total // KILLS)))
            asked = sorted(set(range(share[0])) - acknowledged) + share
            after = places.randrange(5, len(asked) - 40)
            posted = post_until(
                server,
                [traffic.notifications[at] for at in asked],
                lambda posted, after=after: len(posted.taken) >= after,
                server.kill_writer if kill % 2 else server.process.kill,
            )
            if kill % 2:
                assert server.process.wait(PATIENCE) == 1
                assert {answer.status for answer in posted.refused.values()} <= {503}
            else:
                server.kill()
                assert posted.refused == {}
            midway += bool(posted.unanswered or posted.refused)
            acknowledged |= {asked[at] for at in posted.taken}
            begun = share[-1] + 1

            held = server.holds()
            lost = [at for at in acknowledged if not held.has(traffic.bodies[at])]
            assert lost == [], f"acknowledged and lost in kill {kill}"
            assert held.rollups == held.recounted()
            sent = told_by(traffic.bodies[:begun])
            assert held.records.keys() <= sent.keys()
            assert held.quarantined == {}
            for key, record in held.records.items():
                assert set(record.timeline) <= sent[key]
        assert midway > KILLS // 2

        server.start()
        assert server.post(traffic.notifications, 16).statuses == {200: total}
        server.stop()
        held = server.holds()
    finally:
        if server.process.poll() is None:
            server.kill()
    assert as_truth(held) == true_days(traffic.document)
    assert held.rollups == held.recounted()


def test_a_server_whose_writer_is_gone_says_so_and_ends(tmp_path, signer, traffic) -> None:
    """Who waited is told to come again; then code 1 and one sentence, and the port is free."""
    with running(tmp_path, signer, store="busy_timeout_ms = 30000") as server:
        assert server.post(traffic.notifications[:1]).statuses == {200: 1}
        with locked(server):
            asked: list[Posted] = []
            waiting = threading.Thread(
                target=lambda: asked.append(post(server.port, traffic.notifications[1:9]))
            )
            waiting.start()
            until(lambda: server.metrics()["sesight_queue_depth",] == 8, "eight under way")
            server.kill_writer()
            waiting.join()
        assert asked[0].statuses == {503: 8}
        assert refused_for_the_store(asked[0])
        assert server.process.wait(PATIENCE) == 1
        listen("127.0.0.1", server.port).close()
    assert server.faults == (
        "The commit process ended early (signal 9). "
        "Every event that was answered 200 is stored. Start the server again.\n"
    )


@contextmanager
def locked(server: Server) -> Iterator[None]:
    """Hold a server's database, as another process would that writes to it."""
    lock = sqlite3.connect(server.database, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        lock.execute("ROLLBACK")
        lock.close()


def refused_for_the_store(posted: Posted) -> bool:
    """Whether there are refusals, all of them 503 `store` that say when to come again."""
    for answer in posted.refused.values():
        assert (answer.status, answer.reason) == (503, "store")
        assert answer.problem["type"] == "unavailable"
        assert int(answer.headers["retry-after"]) > 0
    return bool(posted.refused)


def test_a_locked_database_refuses_and_recovers_without_a_restart(
    tmp_path, signer, traffic
) -> None:
    """Another process holds it: 503 for all, nothing stored; then all are taken."""
    some = traffic.notifications[:60]
    with running(tmp_path, signer, store="busy_timeout_ms = 100") as server:
        assert server.post(some[:20]).statuses == {200: 20}
        with locked(server):
            posted = server.post(some[20:40], connections=4)
            assert posted.statuses == {503: 20}
            assert refused_for_the_store(posted)
            # who only reads is answered meanwhile
            assert server.get("/api/campaigns").status == 200
            assert server.refusals() == {("store", 503): 20}
        held = server.holds()
        assert all(held.has(body) for body in traffic.bodies[:20])
        assert held.rollups == held.recounted()
        assert server.post(some).statuses == {200: 60}
        held = server.holds()
    assert server.journal[-1]["source"] == "http"
    assert all(held.has(body) for body in traffic.bodies[:60])
    assert "Traceback" not in server.errors


def full_and_free(server: Server, traffic: Traffic, free, tidied=lambda: True) -> None:
    """Post until the disk is full and on, and until the writer has `tidied` on it; free it, post all."""
    posted = server.post(traffic.notifications, connections=8)
    assert refused_for_the_store(posted), "the disk never got full"
    assert posted.taken, "the disk was full from the start"
    until(tidied, "a checkpoint on the full disk")
    assert server.get("/api/health").status == 200
    posted.taken |= server.post(traffic.notifications, connections=8).taken
    free()
    again = server.post(traffic.notifications, connections=8)
    assert again.statuses == {200: len(traffic.notifications)}
    held = server.holds()
    assert all(held.has(traffic.bodies[at]) for at in posted.taken)
    assert as_truth(held) == true_days(traffic.document)
    assert held.rollups == held.recounted()
    assert server.get("/api/campaigns").status == 200
    assert "Traceback" not in server.errors


def test_a_full_disk_refuses_and_recovers_without_a_restart(tmp_path, signer, traffic) -> None:
    """A file system of 2 MB: 503, nothing acknowledged and lost; all is taken when it has grown."""
    folder = tmp_path / "store"
    folder.mkdir()

    def mount(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        subprocess.run(command, check=True, capture_output=True)

    try:
        mount("size=2m")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a tmpfs; a limit of the file size is tested too")
    try:
        with running(tmp_path, signer, tidy_up_idle_seconds=0.05) as server:
            full_and_free(
                server,
                traffic,
                lambda: mount("remount,size=64m"),
                lambda: "could not be tidied" in server.errors,
            )
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits another process")
def test_a_file_that_may_not_grow_refuses_and_recovers_without_a_restart(
    tmp_path, signer, traffic
) -> None:
    """A limit of 1 MB a file: what SQLite then calls an I/O error is 503 too."""

    def limit(size: int) -> None:
        resource.prlimit(server.writer, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    with running(tmp_path, signer) as server:
        limit(1_000_000)
        full_and_free(server, traffic, lambda: limit(resource.RLIM_INFINITY))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_stop_in_the_middle_of_load_answers_all_that_was_taken(
    tmp_path, signer, traffic, number
) -> None:
    """What is in the store is what was acknowledged, to the last event; the exit code is 0. The writer
    has the signal too, as from a terminal or a service manager, and leaves it to the server.
    """
    server = Server(tmp_path, signer).start()

    def stop() -> None:
        os.kill(server.writer, number)
        server.process.send_signal(number)

    try:
        posted = post_until(
            server,
            traffic.notifications,
            lambda posted: len(posted.taken) >= 200,
            stop,
        )
        server.ended()
        assert not Path(f"{server.database}-wal").exists()
        assert {answer.reason for answer in posted.refused.values()} <= {"busy"}
        assert len(posted.taken) < len(traffic.bodies)
        held = server.holds()
        told = told_by(traffic.bodies[at] for at in posted.taken)
        assert {key: set(record.timeline) for key, record in held.records.items()} == told
        assert held.rollups == held.recounted()

        server.start()
        assert server.post(traffic.notifications, 16).statuses == {200: len(traffic.bodies)}
        server.stop()
        assert as_truth(server.holds()) == true_days(traffic.document)
        assert server.faults == ""
    finally:
        if server.process.poll() is None:
            server.kill()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds to a core")
def test_one_core_is_enough(tmp_path, signer, traffic) -> None:
    """Server and writer share what there is."""
    with running(tmp_path, signer, before="os.sched_setaffinity(0, {0})") as server:
        count = len(traffic.notifications)
        assert server.post(traffic.notifications, 16).statuses == {200: count}
        assert as_truth(server.holds()) == true_days(traffic.document)


def test_a_stop_waits_for_no_client_that_is_not_done(tmp_path, signer) -> None:
    """A silent one, one within its head and one within its body are let go at once."""
    with running(tmp_path, signer) as server:
        with ExitStack() as held:
            for said in (b"", b"POST /api/ses/events HT", request(b"", content_length="9") + b"{"):
                client = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
                held.enter_context(client).sendall(said)
            until(lambda: server.get("/api/health").status == 200, "the three before it")
            begun = time.monotonic()
            server.stop()
            assert time.monotonic() - begun < 15  # uvicorn's own patience is 20 s
        assert server.faults == ""
