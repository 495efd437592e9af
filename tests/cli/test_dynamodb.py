"""Every command over a DynamoDB store, as people run it, beside the same over SQLite."""

import gzip
import json
import re
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sesight.store import open_store
from sesight.store.dynamodb.store import DynamoStore
from sesight_simulator.traffic.plan import Plan
from sesight_simulator.traffic.recording import write
from tests.aws import client, new_name
from tests.cli.conftest import PAYLOADS, Ended, Sesight, Start, Traffic
from tests.store.engine import url_of

SQLITE = "sqlite:///a.db"


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    """Return the events of 120 messages over the last 20 days."""
    file = tmp_path_factory.mktemp("traffic") / "events.ndjson"
    written = write(Plan(seed=5, messages=120, days=20, multi_recipient=0.02, bounces=3.0), file)
    return Traffic(file, written.truth, written.events)


@pytest.fixture
def url(dynamodb: str) -> str:
    """Where a store's tables are to be."""
    return url_of(dynamodb)


Both = Callable[..., tuple[Ended, Ended]]


@pytest.fixture
def both(sesight: Sesight, url: str, traffic: Traffic, tmp_path: Path) -> Both:
    """Run a command over a store of each kind that holds the traffic."""
    (tmp_path / "sesight.toml").write_text(f'region = "eu-west-1"\nrecipient_key = "{"5e" * 32}"\n')

    def run(*arguments: object) -> tuple[Ended, Ended]:
        return (
            sesight(*arguments, "--store", SQLITE),
            sesight(*arguments, "--store", url),
        )

    replayed = run("replay", traffic.file, "--json")
    assert replayed[0].json["dispositions"] == replayed[1].json["dispositions"]
    assert [(each.code, each.err) for each in replayed] == [(0, "")] * 2
    return run


CURSORS = re.compile(rb'"(nextCursor|newerCursor)":"[^"]+"')


def said(ended: Ended) -> Any:
    """Return an answer without when it was made, and cursors, which are a store's own."""
    found = json.loads(CURSORS.sub(rb'"\1":"-"', ended.out))
    for name in ("generatedAt", "newestEventAt"):
        found.get("meta", {}).pop(name, None)
    return found


def test_reading(both: Both, sesight: Sesight, url: str, traffic: Traffic) -> None:
    """campaigns, stats, tracking and recipient say the same of both stores."""
    cards = said(both("campaigns", "--json")[1])["data"]
    mail = json.loads(traffic.bodies[0])["mail"]
    for command in (
        ("campaigns",),
        ("stats", cards[0]["stream"], cards[0]["campaign"]),
        ("tracking", "--outcome", "bounced"),
        ("recipient", mail["destination"][0]),
        ("quarantine", "list"),
    ):
        here, there = both(*command, "--json")
        assert (there.code, there.err) == (0, "")
        assert said(here) == said(there), command

    table = sesight("tracking", "--store", url)
    assert (table.code, table.err) == (0, "")


@pytest.fixture
def store(url: str) -> Iterator[DynamoStore]:
    """The store itself, to do damage there."""
    opened = open_store(url)
    yield opened
    opened.close()


def test_recount(both: Both, sesight: Sesight, url: str, store: DynamoStore) -> None:
    """A sound store has no difference; a wrong total is found, said and mended, and its campaign's."""
    here, there = both("recount", "--json")
    assert (there.code, there.json) == (0, here.json)
    assert there.json["differences"] == []
    card, _ = store.cards(["outreach"])[0]
    row = store.rollups("day", "outreach", card.campaign, dimension="")[0]
    store._parts.rollups.add_beside_feed({row.key: [7] * len(row.counts)})  # noqa: SLF001
    wrong = sesight("recount", "--store", url, "--json")
    assert wrong.code == 1
    assert {
        (each["family"], each["stored"] - each["recounted"]) for each in wrong.json["differences"]
    } == {
        ("day", 7),
    }
    assert "differences, not mended" in sesight("recount", "--store", url).text
    assert sesight("recount", "--store", url, "--repair", "--json").json["repaired"] is True
    sound = sesight("recount", "--store", url, "--json")
    assert (sound.code, sound.json) == (0, here.json)


def test_reclassify(both: Both, url: str, sesight: Sesight, tmp_path: Path) -> None:
    """Nothing moves by the same rules; by others records and totals move alike in both stores."""
    here, there = both("reclassify", "--json")
    assert there.json == here.json
    assert there.json["moved"] == 0
    with (tmp_path / "sesight.toml").open("a") as settings:
        settings.write('\n[counting]\ntags = []\ntest_recipients = ["@gmail.example.com"]\n')
    here, there = both("reclassify", "--json")
    assert there.json == here.json
    assert there.json["moved"] > 0
    here, there = both("recount", "--json")
    assert (there.code, there.json) == (0, here.json)


def test_quarantine(both: Both, sesight: Sesight, url: str, tmp_path: Path) -> None:
    """Bodies in quarantine are listed, shown and, once the settings know their set, taken."""
    here, there = both("replay", PAYLOADS, "--json")
    assert there.json["reasons"] == here.json["reasons"]
    foreign = json.loads((PAYLOADS / "send.json").read_bytes())
    foreign["mail"]["tags"]["ses:configuration-set"] = ["news-set"]
    (tmp_path / "foreign.json").write_text(json.dumps(foreign))
    both("replay", "foreign.json")
    here, there = both("quarantine", "list", "--reason", "unknown-set", "--json")
    (held,) = there.json["data"]
    assert held["id"] == here.json["data"][0]["id"]
    shown = sesight("quarantine", "show", held["id"][:12], "--store", url, "--json")
    assert json.loads(shown.json["body"]) == foreign
    with (tmp_path / "sesight.toml").open("a") as settings:
        settings.write('\n[intake]\nignore_sets = ["news-set"]\n')
    here, there = both("quarantine", "retry", "--json")
    assert there.json == here.json
    assert there.json["released"] == 1
    assert both("quarantine", "list", "--reason", "unknown-set", "--json")[1].json["data"] == []


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_serve(both: Both, start: Start, url: str, number: int) -> None:
    """The server answers over DynamoDB what the command says, and ends well."""
    server = start("serve", "--port", 0, "--store", url)
    address = server.until(r"listens on (http://127\.0\.0\.1:\d+) ")
    with urllib.request.urlopen(f"{address}/api/campaigns", timeout=60) as answer:
        found = answer.read()
    assert said(Ended(0, found, "")) == said(both("campaigns", "--json")[1])
    ended = server.stop(number)
    assert (ended.code, ended.err) == (0, "")


def test_without_a_key(sesight: Sesight, url: str, start: Start) -> None:
    """What shows recipient ids asks for their key in a sentence; what does not goes on without."""
    assert sesight("recount", "--store", url).code == 0
    for command in (["tracking"], ["serve", "--port", 0]):
        ended = sesight(*command, "--store", url)
        assert (ended.code, ended.out, ended.err.count("\n")) == (1, b"", 1)
        assert "recipient_key" in ended.err


# Sources on AWS


def test_from_queue(sesight: Sesight, traffic: Traffic, aws: str, tmp_path: Path) -> None:
    """A dead-letter queue is fed in and emptied; fed in again there is nothing."""
    sqs = client("sqs", aws)
    queue = sqs.create_queue(QueueName=new_name())["QueueUrl"]
    bodies = traffic.bodies[:40]
    for each in bodies:
        sqs.send_message(QueueUrl=queue, MessageBody=each.decode())
    command = ("replay", "--from-queue", queue, "--store", SQLITE)
    (tmp_path / "sesight.toml").write_text('region = "eu-west-1"\n')
    first = sesight(*command, "--json")
    assert (first.code, first.err) == (0, "")
    assert (first.json["messages"], first.json["left"], first.json["read"]) == (40, 0, 40)
    again = sesight(*command)
    assert (again.code, "0 events" in again.text) == (0, True)
    assert sesight("replay", "--store", SQLITE).code == 2
    assert sesight("replay", traffic.file, "--from-queue", queue, "--store", SQLITE).code == 2


def test_from_archive(sesight: Sesight, traffic: Traffic, aws: str) -> None:
    """An archive counts as the file of its events does."""
    s3 = client("s3", aws)
    bucket = new_name()
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    half = len(traffic.bodies) // 2
    s3.put_object(
        Bucket=bucket, Key="e/2026/11/23/x.gz", Body=gzip.compress(b"".join(traffic.bodies[:half]))
    )
    s3.put_object(Bucket=bucket, Key="e/2026/11/24/y", Body=b"".join(traffic.bodies[half:]))
    found = sesight("replay", f"s3://{bucket}/e/?endpoint={aws}", "--store", SQLITE, "--json")
    other = sesight("replay", traffic.file, "--store", "sqlite:///b.db", "--json")
    assert (found.code, found.err) == (0, "")
    assert found.json["dispositions"] == other.json["dispositions"]
    missing = sesight("replay", f"s3://nowhere/?endpoint={aws}", "--store", "sqlite:///c.db")
    assert (missing.code, missing.err.count("\n")) == (1, 1)
