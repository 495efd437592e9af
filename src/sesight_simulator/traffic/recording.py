"""Writes the history of a plan as an NDJSON file, and its true totals as a file beside it."""

import gzip
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import msgspec

from sesight import private_file
from sesight_simulator.sns import Signer, unsigned_notification
from sesight_simulator.traffic.plan import Plan
from sesight_simulator.traffic.traffic import generate
from sesight_simulator.traffic.truth import Truth


class RecordingResult(msgspec.Struct, rename="camel"):
    """What `write` has written."""

    events: int
    """Lines."""
    bytes: int
    """Size before compression."""
    seconds: float
    truth: dict[str, object]
    """The document in `<path>.truth.json`."""


def write(
    plan: Plan,
    path: str | Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    signer: Signer | None = None,
) -> RecordingResult:
    """Write the plan's history to `path` (gzip if it ends in .gz) and `<path>.truth.json`.

    A line is an SES event or, with `wrapping="sns"`, an SNS notification: signed if there is a signer, else
    with a placeholder signature. `progress` receives the number of events so far and the time of the last
    one (epoch ms), every 10,000 events and at the end.
    """
    path = Path(path)
    truth = Truth()
    begin = time.perf_counter()
    size = events = 0
    at = plan.begin
    lines: list[bytes] = []
    with ExitStack() as stack:
        raw = stack.enter_context(open(path, "wb", opener=private_file.opener))
        file: IO[bytes] | gzip.GzipFile = raw
        if path.suffix == ".gz":
            # The gzip header has no name and no time, so that the same plan gives the same bytes.
            file = stack.enter_context(
                gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=3, mtime=0)
            )
        for event in generate(plan, truth):
            at, line = event.at, event.body
            events += 1
            if plan.wrapping == "sns":
                line = (
                    signer.sign(line, plan.topic_arn, at=at)
                    if signer
                    else unsigned_notification(line, plan.topic_arn, at, events)
                )
            size += len(line) + 1
            lines.append(line)
            if events % 1_000 == 0:
                lines.append(b"")
                file.write(b"\n".join(lines))
                lines.clear()
                if progress and events % 10_000 == 0:
                    progress(events, at)
        if lines:
            lines.append(b"")
            file.write(b"\n".join(lines))
    if progress:
        progress(events, at)
    document = truth.document()
    formatted = msgspec.json.format(msgspec.json.encode(document), indent=1)
    private_file.write(path.with_name(path.name + ".truth.json"), formatted + b"\n")
    return RecordingResult(events, size, time.perf_counter() - begin, document)
