"""`make bench`: measure every figure next to its floor. BENCH_MESSAGES and BENCH_ONLY narrow it."""

from __future__ import annotations

import os
from pathlib import Path

from bench import dynamodb, floors, functions, http, inputs, reads, replays, sending
from bench.figures import Figure, Report

FOLDER = Path(os.environ.get("BENCH_FOLDER", ".bench")).absolute()
MESSAGES = int(os.environ.get("BENCH_MESSAGES", "370000"))
ONLY = os.environ.get("BENCH_ONLY", "replay,http,reads,dynamodb,sending").split(",")
SIGNED = int(os.environ.get("BENCH_SIGNED", "80000"))


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    report = Report()
    events = inputs.events_file(FOLDER, MESSAGES)
    signed, certificate = inputs.signed_bodies(FOLDER, events, SIGNED)
    floor = floors.measure(inputs.lines_of(signed, 10_000), certificate, FOLDER)
    report.add(
        Figure("floor: JSON scan, event alone", floor.scan_event, "events/s"),
        Figure("floor: JSON scan, both layers", floor.scan_both, "events/s"),
        Figure("floor: insert of whole envelopes", floor.insert_envelope, "events/s"),
        Figure("floor: insert of 100 bytes", floor.insert_100, "events/s"),
        Figure("floor: RSA verify, one thread", floor.verify, "events/s"),
    )
    if "replay" in ONLY:
        _replays(report, events, floor)
    if "http" in ONLY:
        _http(report, signed, certificate, floor)
    if "reads" in ONLY:
        _reads(report)
    if "dynamodb" in ONLY:
        report.add(*dynamodb.figures(), *functions.figures())
    if "sending" in ONLY:
        report.add(*sending.figures(FOLDER))
    report.show()
    report.write(FOLDER / "figures.json")


def _replays(report: Report, events: Path, floor: floors.Floors) -> None:
    store = FOLDER / "replay.db"
    for name, path, target in (
        ("in order", events, 35_000),
        ("shuffled", inputs.shuffled_file(events), 20_000),
    ):
        result = replays.replay(path, store)
        wrong = replays.check_truth(events, store)
        report.add(
            Figure(
                f"replay {name}", result["eventsPerSecond"], "events/s", floor.scan_both, "JSON scan",
                target, note=f"{result['read']:,} events; {wrong} totals differ from the truth",
            ),
            Figure(
                f"replay {name}: peak memory, both processes", result["peakMb"], "MB", None, "", 300,
                is_maximum=True,
            ),
        )  # fmt: skip
    records = result["dispositions"]["created"]
    per_event = result["megabytes"] / result["read"] * 1e6
    per_record = result["read"] / records
    report.add(
        Figure(
            "store: size per million events at 3.2 events a record",
            per_event * per_record / 3.2, "MB", None, "", 120, is_maximum=True,
            note=f"measured {per_event:.1f} MB at {per_record:.2f} events a record",
        )
    )  # fmt: skip
    replays.remove(store)
    seconds_by_step = replays.shares(inputs.lines_of(events, 200_000), store, 16_384)
    whole = sum(seconds_by_step.values())
    for name, seconds in sorted(seconds_by_step.items(), key=lambda item: -item[1]):
        report.add(
            Figure(
                f"share of {name}",
                seconds / 200_000 * 1e6,
                "µs/event",
                note=f"{seconds / whole:.0%}",
            )
        )


def _http(report: Report, signed: Path, certificate: Path, floor: floors.Floors) -> None:
    with http.raw_asgi() as address:
        bare = http.post(address, signed, 64, 4, 0, 5_000)
    report.add(
        Figure(
            "floor: raw ASGI, 64 connections",
            bare["rate"],
            "requests/s",
            note=f"p99 {bare['p99']:.1f} ms",
        )
    )
    with http.server(FOLDER, certificate) as address:
        http.post(address, signed, 8, 1, SIGNED - 2_000, SIGNED)
        first = 0
        for connections, seconds, share in (
            (1, 3, 4_000),
            (32, 4, 16_000),
            (64, 4, SIGNED - 22_000),
        ):
            result = http.post(address, signed, connections, seconds, first, first + share)
            first += share
            target = 5_000 if connections == 64 else None
            name = f"signed HTTP intake, {connections} connection{'s' if connections > 1 else ''}"
            report.add(
                Figure(name, result["rate"], "events/s", bare["rate"], "raw ASGI", target,
                       note=f"{result['requests']:,} posts of {share:,} events, {result['errors']} errors"),
                Figure(f"{name}: p50", result["p50"], "ms"),
                Figure(
                    f"{name}: p99", result["p99"], "ms", None, "", 60 if connections == 64 else None,
                    is_maximum=True,
                ),
            )  # fmt: skip
    report.add(
        Figure(
            "signed HTTP intake, of RSA verify alone",
            result["rate"],
            "events/s",
            floor.verify,
            "RSA verify",
        )
    )


def _reads(report: Report) -> None:
    sizes = {}
    for messages in (100_000, 1_000_000):
        store = FOLDER / f"reads-{messages}.db"
        if not store.exists():
            replays.replay(inputs.events_file(FOLDER, messages), store, "normal")
        sizes[messages] = reads.measure(store)
    small, large = sizes[100_000], sizes[1_000_000]
    for name, target in (
        ("stats", 1), ("stats_daily", 1), ("page", 5), ("page_campaign", 5), ("page_address", 5), ("page_rare", 5),
        ("api_page", None), ("api_stats", None),
    ):  # fmt: skip
        report.add(
            Figure(
                f"{name.replace('_', ', ')} at 1 million records", getattr(large, name), "ms",
                getattr(small, name), "at 100 thousand", target, is_maximum=True,
            )
        )  # fmt: skip


if __name__ == "__main__":
    main()
