"""The Lambda functions: the imports of a cold start, and the throughput of the processor's handler."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import time
from collections.abc import Iterator

from bench.dynamodb import puts
from bench.figures import Figure
from bench.inputs import END, plan
from sesight.lambdas.processor import Processor
from sesight.settings import Settings, StoreSettings
from sesight_simulator.traffic.traffic import generate
from tests.invocation import KEY, Context, batches
from tests.store.engine import dynamodb_local, url_of

WARM = 8
"""Batches before the measurement: the engine, a Java program, is three times faster after them."""

_COLD = """
import time
started = time.perf_counter()
import sesight.lambdas
imported = time.perf_counter()
from sesight.store.dynamodb.connection import session_of
session, options = session_of("eu-west-1", None)
session.create_client("dynamodb", **options)
made = time.perf_counter()
# not getrusage, whose peak a process inherits from its parent
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
print((imported - started) * 1e3, (made - imported) * 1e3, peak)
"""


def cold_start() -> tuple[float, float, float]:
    """Return the milliseconds to import the functions' module and to make a client, and the peak memory
    (MB) after that; the least of five runs each.
    """
    runs = [
        subprocess.run([sys.executable, "-c", _COLD], capture_output=True, text=True, check=True)
        for _ in range(5)
    ]
    columns = zip(*(map(float, run.stdout.split()) for run in runs), strict=True)
    imported, made, peak = map(min, columns)
    return imported, made, peak


def handled(engine: str, messages: int) -> tuple[float, float]:
    """Return events a second of the processor's handler, with SQS batches of 500 messages, journal lines
    and metrics, and bare PutItems a second.
    """
    settings = Settings(store=StoreSettings(url_of(engine)), recipient_key=KEY)
    processor = Processor(settings, "outreach", lambda: END)
    bodies = [event.body for event in generate(plan(messages))]
    invocations = list(batches(bodies))
    with contextlib.redirect_stdout(io.StringIO()):
        failed = [processor.handle(event, Context()) for event in invocations[:WARM]]
        started = time.perf_counter()
        failed += [processor.handle(event, Context()) for event in invocations[WARM:]]
        seconds = time.perf_counter() - started
    assert failed == [{"batchItemFailures": []}] * len(invocations)
    bare = puts(processor._store)  # noqa: SLF001
    return (len(bodies) - WARM * 500) / seconds, bare


def figures() -> Iterator[Figure]:
    """Yield every figure of the functions."""
    imported, made, peak = cold_start()
    yield Figure("functions: import", imported, "ms", None, "", 400, is_maximum=True)
    yield Figure("functions: a client made after it", made, "ms")
    yield Figure("functions: peak memory then", peak, "MB", None, "", 100, is_maximum=True)
    with dynamodb_local() as engine:
        rate, bare = handled(engine, 4_000)
        yield Figure(
            "processor's handler on DynamoDB Local, batches of 500", rate, "events/s", bare,
            "bare PutItem", 1_000, note="read, folded, stored, a line for each",
        )  # fmt: skip


if __name__ == "__main__":
    for figure in figures():
        print(figure)
