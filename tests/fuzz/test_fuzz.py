"""Whatever bytes come, no exception escapes, and everything read has a disposition."""

import gzip
import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sesight.domain.errors import SettingsError, Untrusted
from sesight.domain.event import Disposition
from sesight.ingest.reader import read, read_envelopes
from sesight.ingest.reading import Reading, UnreadableReading
from sesight.ingest.transport.certificates import CertificateUnavailable
from sesight.ingest.transport.envelope import open_notification
from sesight.ingest.transport.files import Progress, bodies, input_files
from sesight.ingest.transport.sns import string_to_sign
from tests.builders import COUNTING
from tests.fuzz.mutations import SAMPLES, anything, mutants
from tests.notification import confirmation, notification, taken
from tests.payload import raw
from tests.reception import Reception

Rounds = Callable[[], Iterator[int]]

few = settings(max_examples=300)
MEMORY = Path("/dev/shm")
ORIGINS = ("file", "http", "sqs", "sns", "eventbridge", "firehose")

GENUINE = [
    *[json.dumps(each).encode() for each in (notification(), notification("1"), confirmation())],
    json.dumps(notification(Message=raw("complaint.json").decode())).encode(),
]
SIGNED = {string_to_sign(taken(each)[0]) for each in GENUINE}


def test_reading(rounds: Rounds) -> None:
    """Reading gives, for each body in an envelope, an event, a reason why there is none, or why it is
    not understood, of any origin; it never raises.
    """

    @few
    @given(anything, st.sampled_from(ORIGINS))
    def check(data: bytes, origin: str) -> None:
        for found in read(data, origin, known_sets={"outreach-tracking"}):
            assert isinstance(found, Reading)
            assert not isinstance(found, UnreadableReading) or found.detail

    for _ in rounds():
        check()


WRAPPERS = {
    "sns": lambda text: json.dumps({"Type": "Notification", "Message": text}),
    "lambda": lambda text: json.dumps(
        {"Records": [{"Sns": {"Type": "Notification", "Message": text}}]}
    ),
    "sqs": lambda text: json.dumps({"Records": [{"messageId": "1", "body": text}]}),
    "polled": lambda text: json.dumps({"Messages": [{"MessageId": "1", "Body": text}]}, indent=2),
    "bus": lambda text: f'{{"detail-type":"x","source":"y","detail":{text}}}',
    "firehose": lambda text: json.dumps(
        {"records": [{"data": b64encode(gzip.compress(text.encode())).decode()}]}
    ),
    "kinesis": lambda text: json.dumps(
        {"Records": [{"kinesis": {"data": b64encode(text.encode()).decode()}}]}
    ),
    "array": lambda text: f" [ {text} ]",
    "text": json.dumps,
    "letter": lambda text: f'{{"requestPayload":{text}}}',
}
"""The envelopes there are, each around one body."""

EVENTS = [each for each in SAMPLES if b'\n  "mail": {' in each]
"""Events and notifications by themselves."""


def test_envelopes(rounds: Rounds) -> None:
    """An event is the same in any envelopes within each other, as far as they may go."""

    @few
    @given(
        st.sampled_from(EVENTS), st.lists(st.sampled_from(sorted(WRAPPERS)), min_size=1, max_size=3)
    )
    @example(EVENTS[0], ["array", "text", "sns"])
    @example(EVENTS[0], ["text", "text", "lambda"])
    def check(data: bytes, around: list[str]) -> None:
        text = data.decode()
        for name in around:
            text = WRAPPERS[name](text)
        told = [getattr(each, "event", None) for each in read(data, "file")]
        assert [getattr(each, "event", None) for each in read(text.encode(), "file")] == told

    for _ in rounds():
        check()


def test_proving(rounds: Rounds) -> None:
    """Of changed notifications only those are taken whose signed fields are a genuine one's; all
    others are refused with a reason and a status.
    """

    @few
    @given(
        mutants(GENUINE) | anything, st.dictionaries(st.just("x-amz-sns-message-type"), st.text())
    )
    def check(data: bytes, headers: dict[str, str]) -> None:
        try:
            found, _ = taken(data, headers)
        except Untrusted as error:
            said = error.reason, error.status
        except CertificateUnavailable:
            raise AssertionError("a forgery made us fetch what is not ours") from None
        else:
            assert string_to_sign(found) in SIGNED
            said = "genuine", 403
        assert said[0]
        assert said[1] in (400, 403, 413)

    for _ in rounds():
        check()


def test_taking_in(rounds: Rounds) -> None:
    """The whole pipeline into a store: every reading has a disposition, they sum to what was read,
    the store stays readable, and taking the same in again changes no total.
    """

    @settings(max_examples=100)
    @given(st.lists(anything, min_size=1, max_size=8))
    def check(batch: list[bytes]) -> None:
        with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            reception = Reception(Path(folder))
            readings = [
                each
                for data in batch
                for each in read(data, "file", known_sets=reception.rules.known_sets)
            ]
            done = reception.process(readings)
            assert [each.reading for each in done] == readings
            assert {type(each.disposition) for each in done} <= {Disposition}
            totals = [reception.totals(stream) for stream in COUNTING.streams]
            for each in done:
                for key in each.keys:
                    assert reception.records(key.message_id)
            again = reception.process(readings)
            assert not {each.disposition for each in again} & {
                Disposition.CREATED,
                Disposition.UPDATED,
            }
            assert [reception.totals(stream) for stream in COUNTING.streams] == totals
            reception.store.close()

    for _ in rounds():
        check()


def test_notifications(rounds: Rounds) -> None:
    """What a genuine notification holds never raises, whatever its kind and message."""

    @few
    @given(anything, st.sampled_from(["Notification", "SubscriptionConfirmation", "x"]))
    def check(data: bytes, kind: str) -> None:
        message = data.decode("utf-8", "replace")
        found = read_envelopes(open_notification(kind, message, "http"), ())
        assert found or kind == "Notification"

    for _ in rounds():
        check()


def packed(data: bytes) -> bytes:
    """Return bytes packed with gzip."""
    return gzip.compress(data, 1)


files = st.builds(
    lambda parts, glue, pack, cut: (
        packed(glue.join(parts))[:cut] if pack else glue.join(parts)[:cut]
    ),
    st.lists(anything, max_size=4),
    st.sampled_from([b"", b"\n", b"\r\n", b"\n\n", b",", b",\n", b" ", b"]\n["]),
    st.sampled_from([False, False, True]),
    st.sampled_from([None, None, 9, 99, 999]),
)
bent = st.builds(
    lambda data, at: packed(data)[:at] + b"\x00\xff" + packed(data)[at + 2 :],
    st.sampled_from(SAMPLES),
    st.integers(2, 400),
)


def test_files(rounds: Rounds) -> None:
    """A file of anything, packed or glued or cut off, gives bodies, or says that it cannot be read."""

    @few
    @given(files | bent)
    def check(data: bytes) -> None:
        with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            file = Path(folder) / "events.json"
            file.write_bytes(data)
            with suppress(SettingsError):
                for body in bodies(input_files([str(file)]), Progress()):
                    read(body, "file")

    for _ in rounds():
        check()
