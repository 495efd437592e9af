"""An archive in S3 as a source of replays: in order, packed or not, resumed where it broke off."""

import gzip
import json

import pytest
from botocore.exceptions import IncompleteReadError

from sesight.app.aws import open_archive
from sesight.domain.errors import SettingsError
from sesight.ingest.pipeline import Pipeline
from sesight.ingest.replay.replay import SMALL, replay
from sesight.ingest.transport.files import Progress, bodies
from tests.aws import client, new_name
from tests.builders import NOW
from tests.payload import body, raw
from tests.reception import Reception


class Bucket:
    """A bucket of its own."""

    def __init__(self, address: str) -> None:
        """Make it."""
        self.address = address
        self.name = new_name()
        self.s3 = client("s3", address)
        self.s3.create_bucket(
            Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )

    def put(self, key: str, data: bytes) -> None:
        """Put an object."""
        self.s3.put_object(Bucket=self.name, Key=key, Body=data)

    def url(self, prefix: str = "") -> str:
        """Return the URL of what is under a prefix."""
        return f"s3://{self.name}/{prefix}?endpoint={self.address}"


@pytest.fixture
def bucket(aws: str) -> Bucket:
    """A new bucket."""
    return Bucket(aws)


def told(n: int, begin: int = 0, **more: str) -> list[bytes]:
    """Return the deliveries of some messages."""
    return [
        body(
            "delivery",
            {"mail.messageId": f"m-{at:06d}", "mail.timestamp": "2026-11-23T12:00:00Z", **more},
        )
        for at in range(begin, begin + n)
    ]


def test_read(bucket: Bucket) -> None:
    """Objects are read in order of their keys: events glued to each other, on lines, in gzip; what is
    empty or outside of the prefix is not.
    """
    some = told(9)
    bucket.put("ses/2026/11/24/09/a", b"".join(some[6:]))
    bucket.put("ses/2026/11/23/10/b.gz", gzip.compress(b"".join(some[:3])))
    bucket.put("ses/2026/11/23/11/c", b"\n".join(some[3:6]) + b"\n")
    bucket.put("ses/2026/", b"")
    bucket.put("other/2026/11/23/10/d", some[0])
    progress = Progress()
    sources = open_archive(bucket.url("ses/2026/"), None).input_files()
    assert list(bodies(sources, progress)) == some
    assert progress.done == sum(source.size for source in sources)


def test_as_firehose_writes(bucket: Bucket, reception: Reception) -> None:
    """What Firehose wrote is counted as a file of it is."""
    bucket.put("2026/11/24/x", raw("firehose_s3_object.ndjson"))
    pipeline = Pipeline(reception.store, reception.rules, lambda: NOW, lambda _: None)
    summary = replay(pipeline, open_archive(bucket.url(), None).input_files(), ())
    lines = raw("firehose_s3_object.ndjson").splitlines()
    assert summary.read >= len(lines) > 0
    assert set(summary.dispositions) <= {"created", "updated"}


def test_large(bucket: Bucket, reception: Reception) -> None:
    """A large archive is put in order of messages on the way, so that each record is written once."""
    padding = {"mail.commonHeaders.subject": "x" * 2_000}
    first = told(1_500, **padding)
    opens = [
        body(
            "open",
            {"mail.messageId": f"m-{at:06d}", "mail.timestamp": "2026-11-23T12:00:00Z"},
        )
        for at in range(1_500)
    ]
    bucket.put("a", b"".join(first))
    bucket.put("b", b"".join(opens))
    assert sum(map(len, [*first, *opens])) > SMALL
    batches: list[list[str]] = []
    pipeline = Pipeline(
        reception.store,
        reception.rules,
        lambda: NOW,
        lambda done: batches.append([each.reading.event.message_id for each in done]),
    )
    heard: list[int] = []
    summary = replay(
        pipeline,
        open_archive(bucket.url(), None).input_files(),
        (),
        progress=lambda done, _: heard.append(done),
    )
    assert summary.dispositions == {"created": 1_500, "updated": 1_500}
    assert [names == sorted(names) for names in batches] == [True] * len(batches)
    assert heard == sorted(heard)


def test_broken_off(bucket: Bucket) -> None:
    """Where the connection breaks off, the rest is asked for; at last the replay says what failed."""
    some = told(400)
    bucket.put("a", b"".join(some))
    archive = open_archive(bucket.url(), None)
    true = archive._client.get_object  # noqa: SLF001
    asked: list[str] = []

    class Breaking:
        """A body that breaks off after a while."""

        def __init__(self, whole: object, most: int) -> None:
            """Take the true one."""
            self.whole, self.left = whole, most

        def read(self, amount: int) -> bytes:
            """Read until it breaks off."""
            if self.left <= 0:
                raise IncompleteReadError(actual_bytes=1, expected_bytes=2)
            data = self.whole.read(min(amount, self.left))
            self.left -= len(data)
            return data

        def close(self) -> None:
            """Close it."""
            self.whole.close()

    most = [300_000]

    def get_object(**arguments: str) -> dict:
        asked.append(arguments["Range"])
        assert arguments["Range"] == "bytes=0-" or arguments["IfMatch"]
        answer = true(**arguments)
        return {**answer, "Body": Breaking(answer["Body"], most[0])}

    archive._client.get_object = get_object  # noqa: SLF001
    assert list(bodies(archive.input_files(), Progress())) == some
    assert asked[:2] == ["bytes=0-", "bytes=300000-"]
    most[0] = 0
    with pytest.raises(SettingsError, match="cannot be read to its end"):
        list(bodies(archive.input_files(), Progress()))


def test_changed_meanwhile(bucket: Bucket) -> None:
    """An object that is another by the time it is asked for again is not glued to the first one."""
    bucket.put("a", b"".join(told(2_000)))
    archive = open_archive(bucket.url(), None)
    (source,) = archive.input_files()
    with source.open() as opened:
        opened.read(1)
        bucket.put("a", json.dumps({"x": "y" * source.size}).encode())
        opened.raw._body = None  # noqa: SLF001
        with pytest.raises(OSError, match="PreconditionFailed"):
            opened.read()


def test_nothing(bucket: Bucket, aws: str) -> None:
    """A bucket that is not there, a prefix with nothing under it and an URL without a bucket are said."""
    with pytest.raises(SettingsError, match="nothing under"):
        open_archive(bucket.url("x/"), None).input_files()
    with pytest.raises(SettingsError, match="cannot be listed"):
        open_archive(f"s3://nowhere-at-all/?endpoint={aws}", None).input_files()
    with pytest.raises(SettingsError, match="of the form s3://"):
        open_archive("s3://", None)
