"""Files of traffic, and their true totals."""

import gzip
import json

import pytest

from sesight_simulator.traffic.plan import Plan
from sesight_simulator.traffic.recording import write
from sesight_simulator.traffic.traffic import generate
from sesight_simulator.traffic.truth import Truth

END = 1_795_500_000_000


@pytest.mark.parametrize("name", ["traffic.ndjson", "traffic.ndjson.gz"])
@pytest.mark.parametrize("wrapping", ["event", "sns"])
def test_write(tmp_path, name, wrapping):
    """A file holds the history line by line, its true totals are beside it, and it is reproducible."""
    plan = Plan(seed=1, end=END, days=30, messages=1_500, wrapping=wrapping)
    progress = []
    first, again = tmp_path / name, tmp_path / f"again-{name}"
    written = write(plan, first, lambda *step: progress.append(step))
    write(plan, again)
    assert first.read_bytes() == again.read_bytes()
    raw = first.read_bytes()
    lines = (gzip.decompress(raw) if name.endswith(".gz") else raw).splitlines()
    truth = Truth()
    bodies = [event.body for event in generate(plan, truth)]
    if wrapping == "sns":
        lines = [json.loads(line)["Message"].encode().rstrip(b"\n") for line in lines]
    assert lines == bodies
    document = json.loads((tmp_path / f"{name}.truth.json").read_bytes())
    assert document == truth.document() == written.truth
    assert progress[-1][0] == written.events == len(bodies)
