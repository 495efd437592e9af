"""Replays: files into a new store, in order and shuffled, and where the time goes."""

from __future__ import annotations

import gc
import json
import multiprocessing
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.inputs import END
from sesight.app import App
from sesight.domain.tally import COUNTERS
from sesight.ingest.event_batch import EventBatch
from sesight.ingest.pipeline import Pipeline
from sesight.ingest.reader import read
from sesight.settings import load

STEPS = (
    "load_records",
    "fold_routed_events",
    "fold_unrouted_events",
    "fold_awaiting_events",
    "tally_records",
    "update_suppressions",
    "changes",
    "weigh_soft_bounces",
    "dispositions",
)


def replay(events: Path, store: Path, durability: str = "normal") -> dict[str, Any]:
    """Replay in a process of its own; return its summary with `peakMb`, its own peak memory."""
    remove(store)
    done = subprocess.run(
        [sys.executable, "-m", "bench.replays", str(events), str(store), durability],
        check=True, capture_output=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def remove(store: Path) -> None:
    """Delete a store with its companion files."""
    for end in ("", "-wal", "-shm", ".key"):
        Path(f"{store}{end}").unlink(missing_ok=True)


def open_app(store: Path, durability: str = "full") -> App:
    """Return an app over a bench store, at the simulated now."""
    settings = load("/dev/null", {"store.url": f"sqlite:///{store}"})
    return App(settings, clock=lambda: END, durability=durability)


def check_truth(events: Path, store: Path) -> int:
    """Return the number of totals in which the store differs from the simulation's truth."""
    truth = json.loads(Path(f"{events}.truth.json").read_text())
    app = open_app(store)
    wrong = 0
    for stream, expected in truth["streams"].items():
        rows = app.store.rollups("day", stream, dimension="")
        for n, name in enumerate(COUNTERS):
            total = sum(row.counts[n] for row in rows)
            wrong += name in expected["totals"] and expected["totals"][name] != total
    app.close()
    return wrong


def shares(lines: list[bytes], store: Path, batch: int) -> dict[str, float]:
    """Return the seconds that each step of the pipeline takes for some lines, in one process."""
    remove(store)
    app = open_app(store, "normal")
    seconds: defaultdict[str, float] = defaultdict(float)

    def timed(name: str) -> Callable[..., Any]:
        step = getattr(EventBatch, name)

        def run(*arguments: Any) -> Any:
            started = perf_counter()
            try:
                return step(*arguments)
            finally:
                seconds[name] += perf_counter() - started

        return run

    timed_batch = type("TimedBatch", (EventBatch,), {name: timed(name) for name in STEPS})
    pipeline = Pipeline(app.store, app.rules, app.clock, None, timed_batch)
    gc.disable()
    try:
        for start in range(0, len(lines), batch):
            begun = perf_counter()
            readings = [
                reading
                for line in lines[start : start + batch]
                for reading in read(line, "file", known_sets=app.known_sets)
            ]
            seconds["read"] += perf_counter() - begun
            begun = perf_counter()
            pipeline.process(readings)
            seconds["process"] += perf_counter() - begun
    finally:
        gc.enable()
    app.close()
    remove(store)
    whole = seconds.pop("process")
    inside = sum(value for name, value in seconds.items() if name != "read")
    seconds["write and commit"] = whole - inside
    return dict(seconds)


def _peak_mb(process: int | str | None) -> float:
    """Return the peak memory of a process (VmHWM), MB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def _main(events: str, store: str, durability: str) -> None:
    from sesight.ingest.replay.replay import replay as feed
    from sesight.ingest.transport.files import input_files

    app = open_app(Path(store), durability)
    readers: list[float] = []

    def watch(*_: int) -> None:
        readers[:] = [
            max([_peak_mb(child.pid), *readers]) for child in multiprocessing.active_children()
        ]

    summary = feed(app.pipeline, input_files([events]), app.known_sets, progress=watch)
    app.close()
    # not ru_maxrss, which a process inherits from its parent
    peaks = [_peak_mb("self"), *readers]
    print(
        json.dumps(
            {
                "read": summary.read,
                "seconds": summary.seconds,
                "eventsPerSecond": summary.events_per_second,
                "dispositions": summary.dispositions,
                "peakMb": sum(peaks),
                "megabytes": Path(store).stat().st_size / 1e6,
            }
        )
    )


if __name__ == "__main__":
    _main(*sys.argv[1:4])
