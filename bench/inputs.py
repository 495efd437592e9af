"""Inputs: simulated traffic in files, generated once and kept between runs."""

from __future__ import annotations

import json
import random
from pathlib import Path

from sesight_simulator.sns import Signer
from sesight_simulator.traffic.plan import Plan
from sesight_simulator.traffic.traffic import generate
from sesight_simulator.traffic.truth import Truth

END = 1_795_500_000_000
"""The simulated now: 24 November 2026."""

TOPIC = "arn:aws:sns:eu-west-1:000000000000:ses-email-events"


def plan(messages: int, engagement: float = 1.0) -> Plan:
    """Return the plan of the traffic."""
    return Plan(seed=7, end=END, messages=messages, ambiguous=0.0, engagement=engagement)


def events_file(folder: Path, messages: int) -> Path:
    """Return a file with the traffic of a number of messages; its true totals are in a file next to it."""
    path = folder / f"events-{messages}.ndjson"
    if not path.with_suffix(".done").exists():
        truth = Truth()
        with path.open("wb", buffering=1 << 20) as out:
            for event in generate(plan(messages), truth):
                out.write(event.body + b"\n")
        Path(f"{path}.truth.json").write_text(json.dumps(truth.document()))
        path.with_suffix(".done").touch()
    return path


def shuffled_file(events: Path) -> Path:
    """Return a file with the same lines in a random order."""
    path = events.with_name(events.name.replace("events", "shuffled"))
    if not path.with_suffix(".done").exists():
        lines = events.read_bytes().splitlines(keepends=True)
        random.Random(7).shuffle(lines)
        with path.open("wb", buffering=1 << 20) as out:
            out.writelines(lines)
        path.with_suffix(".done").touch()
    return path


def lines_of(path: Path, limit: int) -> list[bytes]:
    """Return the first lines of a file."""
    with path.open("rb") as lines:
        return [line.rstrip() for _, line in zip(range(limit), lines, strict=False)]


def signed_bodies(folder: Path, events: Path, limit: int) -> tuple[Path, Path]:
    """Return a file of signed notifications, one a line, and the certificate to verify them."""
    path, certificate = folder / f"signed-{limit}.ndjson", folder / "simulator.pem"
    if not path.with_suffix(".done").exists():
        signer = Signer.generate(TOPIC)
        certificate.write_bytes(signer.certificate_pem)
        with path.open("wb", buffering=1 << 20) as out:
            for body in signer.signed(lines_of(events, limit)):
                out.write(body + b"\n")
        path.with_suffix(".done").touch()
    return path, certificate
