"""Intake and the writer under what can go wrong in them: both go on, no request is left unanswered."""

import asyncio
import datetime as dt
import json
import threading
from collections import Counter
from collections.abc import Callable
from http.client import IncompleteRead
from queue import Queue
from socket import SHUT_RDWR, socketpair

import pytest

from sesight.domain.errors import StoreUnavailable
from sesight.domain.event import Disposition
from sesight.ingest.http.commit_process import CommitProcess, Committer
from sesight.ingest.http.intake import FETCHES_WAITING, Answer, CommitState, Intake
from sesight.ingest.metrics import Metrics
from sesight.ingest.processed import Processed
from sesight.ingest.reading import Reading
from sesight.ingest.transport.certificates import Certificates
from sesight.ingest.transport.sns import parse_topic
from sesight_simulator.sns import TOPIC_ARN, Signer
from tests.server.harness import PATIENCE, Traffic, until

BUSY = Answer(503, "busy")
REAL_ARN = "arn:aws:sns:eu-west-1:123456789012:ses-email-events"


class Pipeline:
    """Stands for the pipeline: takes everything as new, or does what `trouble` says."""

    def __init__(self) -> None:
        self.trouble = lambda readings: None
        self.batches: list[int] = []

    def process(self, readings):
        """Answer for each reading."""
        self.trouble(readings)
        self.batches.append(len(readings))
        return [Processed(reading, Disposition.CREATED) for reading in readings]


class Bench:
    """An intake on a loop of its own, with a writer in a thread and stand-ins around both; `answers`
    has what each request was told.
    """

    def __init__(self, signer: Signer, **more) -> None:
        self.pipeline = more.pop("pipeline", Pipeline())
        self.metrics = Metrics(lambda: 0)
        self.answers: Queue[Answer] = Queue()
        self.fetch: Callable[[str], bytes] = lambda url: signer.certificate_pem
        self.confirm: Callable[[str], object] = lambda url: b""
        self.tidied = threading.Event()
        self.tidy = lambda: None
        self.seconds = 0.0
        self._more = more
        self._topics = {
            TOPIC_ARN: parse_topic(TOPIC_ARN, signer.key.public_key()),
            REAL_ARN: parse_topic(REAL_ARN),
        }
        self._loop = asyncio.new_event_loop()
        self._threads = [
            threading.Thread(target=self._run, daemon=True),
            threading.Thread(target=self._write, daemon=True),
        ]
        self._ours, self.theirs = socketpair()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _write(self) -> None:
        Committer(self.pipeline.process, self._tidy).work(self.theirs)

    async def _start(self) -> None:
        self.intake = Intake(
            self._topics,
            Certificates(self._fetch, lambda: dt.datetime.now(dt.UTC), lambda: self.seconds),
            self.metrics,
            confirm=self._confirm,
            clock=lambda: int(dt.datetime.now(dt.UTC).timestamp() * 1000),
            **self._more,
        )
        self.process = CommitProcess(self.intake.receive, self.intake.process_ended)
        await self.process.connect(self._ours)
        self.intake.start(self.process.send)

    async def _stop(self) -> None:
        await self.intake.stop()
        await self.process.close()

    def _fetch(self, url: str) -> bytes:
        return self.fetch(url)

    def _confirm(self, url: str) -> object:
        return self.confirm(url)

    def _tidy(self) -> None:
        try:
            self.tidy()
        finally:
            self.tidied.set()

    def soon(self, work):
        """Have the loop do something; return its future."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    @property
    def refused(self) -> Counter[tuple[str, str]]:
        """How often each reason was given, as the metrics say."""
        return self.metrics.refused

    @property
    def depth(self) -> int:
        """How many requests are under way."""
        return self.intake.depth

    @property
    def waiting(self) -> int:
        """How many requests wait for the writer."""
        return len(self.intake._waiting)  # noqa: SLF001

    @property
    def fetching(self) -> int:
        """How many requests wait for a fetch."""
        return len(self.intake._fetching)  # noqa: SLF001

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.soon(self._start()).result(PATIENCE)
        return self

    def __exit__(self, *_) -> None:
        self.soon(self._stop()).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def submit(self, body: bytes) -> None:
        """Submit a body."""

        async def submit() -> None:
            self.intake.submit(body, {}, self.answers.put)

        self.soon(submit()).result(PATIENCE)

    def told(self) -> Answer:
        """Return the next answer."""
        return self.answers.get(timeout=PATIENCE)

    def ask(self, body: bytes) -> Answer:
        """Submit a body and return its answer."""
        self.submit(body)
        return self.told()


@pytest.fixture(scope="module")
def bodies(signer) -> list[bytes]:
    """Some SES events."""
    return Traffic.made(signer, seed=3, messages=12, campaigns=2).bodies


@pytest.fixture
def bench(signer):
    """A running intake."""
    with Bench(signer) as bench:
        yield bench


def test_a_tidying_that_fails_does_not_end_the_writer(signer, bodies) -> None:
    """A checkpoint on a full disk, or a sweep of a locked store, is tried again later."""

    def fail() -> None:
        raise StoreUnavailable("The store cannot be used now: database or disk is full.")

    def crash() -> None:
        raise RuntimeError("a bug")

    with Bench(signer, idle_seconds=0.01) as bench:
        for trouble in (fail, crash):
            bench.tidy = trouble
            bench.tidied.clear()
            assert bench.tidied.wait(PATIENCE)
            assert bench.ask(signer.sign(bodies[0])) == Answer(200)


def test_a_store_that_is_away_refuses_all_and_recovers(bench, signer, bodies) -> None:
    """503 for each of the batch, and 200 when it is back."""

    def away(readings) -> None:
        raise StoreUnavailable("locked")

    bench.pipeline.trouble = away
    assert bench.ask(signer.sign(bodies[0])) == Answer(503, "store")
    bench.pipeline.trouble = lambda readings: None
    assert bench.ask(signer.sign(bodies[0])) == Answer(200)
    assert bench.refused == {"store": 1}
    assert bench.depth == 0
    assert b"sesight_commit_seconds_count 1.0" in bench.metrics.text()


def test_one_event_that_breaks_the_pipeline_takes_no_other_with_it(signer, bodies) -> None:
    """A bug refuses the event that shows it; the others of its batch are stored."""
    bench = Bench(signer)
    entered, opened = threading.Event(), threading.Event()

    def trouble(readings) -> None:
        entered.set()
        assert opened.wait(PATIENCE)
        if any(b"breaks-it" in reading.body for reading in readings):
            raise RuntimeError("a bug")

    bench.pipeline.trouble = trouble
    with bench:
        bench.submit(signer.sign(bodies[0]))
        assert entered.wait(PATIENCE)
        for n, body in enumerate((bodies[1], b'{"eventType":"breaks-it"}', bodies[2]), 1):
            bench.submit(signer.sign(body))
            until(lambda n=n: bench.waiting == n, "one more that waits")
        opened.set()
        told = Counter(bench.told() for _ in range(4))
        assert told == {Answer(200): 3, Answer(500, "internal"): 1}
        assert bench.ask(signer.sign(bodies[3])) == Answer(200)
    assert bench.pipeline.batches == [1, 1, 1, 1]
    assert bench.refused == {"internal": 1}
    assert b'sesight_refusals_total{reason="internal",status="500"} 1.0' in bench.metrics.text()


def test_a_pipeline_that_answers_too_little_does_not_end_the_writer(signer, bodies) -> None:
    """Fewer answers than events is a bug: refused, so that the sender tries again."""

    class Short(Pipeline):
        def process(self, readings):
            return []

    with Bench(signer, pipeline=Short()) as bench:
        assert bench.ask(signer.sign(bodies[0])) == Answer(500, "internal")
        assert bench.ask(signer.sign(bodies[0])) == Answer(500, "internal")


def test_a_genuine_notification_waits_out_a_certificate_that_cannot_be_had(
    bench, signer, bodies
) -> None:
    """503 while it cannot be fetched, never 4xx, and 200 later when it can."""
    genuine = signer.sign(bodies[0], REAL_ARN)

    def unreachable(url: str) -> bytes:
        raise OSError("no route to host")

    bench.fetch = unreachable
    assert bench.ask(genuine) == Answer(503, "certificate-unavailable")
    bench.fetch = lambda url: signer.certificate_pem
    assert bench.ask(genuine) == Answer(503, "certificate-unavailable")
    bench.seconds += 60
    assert bench.ask(genuine) == Answer(200)
    assert bench.refused == {"certificate-unavailable": 2}


def test_whatever_a_fetch_raises_is_one_requests_trouble(bench, signer, bodies) -> None:
    """The fetching thread goes on after a bug in it."""

    def crash(url: str) -> bytes:
        raise RuntimeError("a bug")

    bench.fetch = crash
    genuine = signer.sign(bodies[0], REAL_ARN)
    assert bench.ask(genuine) == Answer(500, "internal")
    bench.fetch = lambda url: signer.certificate_pem
    assert bench.ask(genuine) == Answer(200)


@pytest.mark.parametrize("error", [OSError(), ValueError(), IncompleteRead(b"")], ids=repr)
def test_a_confirmation_that_fails_is_refused_and_the_next_one_tried(bench, signer, error) -> None:
    """5xx, so that SNS asks again."""

    def fail(url: str) -> bytes:
        raise error

    bench.confirm = fail
    asked = signer.confirmation(REAL_ARN)
    assert bench.ask(asked).status in {500, 503}
    urls = []
    bench.confirm = urls.append
    assert bench.ask(asked) == Answer(200)
    assert len(urls) == 1
    assert urls[0].startswith("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&")


def test_genuine_ones_go_on_while_a_fetch_hangs(bench, signer, bodies) -> None:
    """Whoever names a certificate that does not come holds nobody else up."""
    asked, free = threading.Event(), threading.Event()

    def hang(url: str) -> bytes:
        asked.set()
        free.wait(PATIENCE)
        raise OSError

    bench.fetch = hang
    forged = signer.sign(bodies[0], REAL_ARN)
    waiting = 1 + FETCHES_WAITING
    for n in range(waiting):
        bench.submit(forged)
        if n == 0:
            assert asked.wait(PATIENCE)
    assert bench.fetching == waiting
    assert bench.ask(forged) == Answer(503, "certificate-queue")
    for body in bodies:
        assert bench.ask(signer.sign(body)) == Answer(200)
    free.set()
    assert [bench.told().status for _ in range(waiting)] == [503] * waiting


def test_batches_of_any_size_reach_the_writer_whole(bench, signer) -> None:
    """Larger than a socket holds, many at once, and empty."""
    texts = [json.dumps({"eventType": "Odd", "x": "y" * n}) for n in (0, 10, 250_000, 70_000)] * 8
    read: list[Reading] = []
    bench.pipeline.trouble = read.extend
    for text in texts:
        bench.submit(signer.sign(text.encode()))
    assert {bench.told() for _ in texts} == {Answer(200)}
    assert Counter(reading.body.strip() for reading in read) == Counter(map(str.encode, texts))


def test_a_full_queue_refuses_at_once_and_has_room_again(signer, bodies) -> None:
    """`submit` never waits; every answer makes room."""
    bench = Bench(signer, limit=3)
    opened = threading.Event()
    bench.pipeline.trouble = lambda readings: opened.wait(PATIENCE)
    with bench:
        for body in bodies[:3]:
            bench.submit(signer.sign(body))
        assert bench.ask(signer.sign(bodies[3])) == BUSY
        opened.set()
        assert [bench.told() for _ in range(3)] == [Answer(200)] * 3
        assert bench.ask(signer.sign(bodies[3])) == Answer(200)


def test_stop_answers_all_that_was_taken_and_takes_no_more(signer, bodies) -> None:
    """Also what still waits for a certificate."""
    bench = Bench(signer)
    asked, free = threading.Event(), threading.Event()

    def slow(url: str) -> bytes:
        asked.set()
        free.wait(PATIENCE)
        return signer.certificate_pem

    bench.fetch = slow
    with bench:
        bench.submit(signer.sign(bodies[0], REAL_ARN))
        for body in bodies:
            bench.submit(signer.sign(body))
        assert asked.wait(PATIENCE)
        stopping = bench.soon(bench.intake.stop())
        told = Counter()
        until(lambda: told.update([bench.ask(b"{}")]) or told[BUSY], "a stopping intake")
        free.set()
        stopping.result(PATIENCE)
        told.update(bench.told() for _ in range(bench.answers.qsize()))
        assert told[Answer(200)] == 1 + len(bodies)
    assert bench.depth == 0


def test_a_writer_that_ends_has_all_under_way_refused(signer, bodies) -> None:
    """What it was given and what waits for it: 503, and whoever comes then is told the same."""
    bench = Bench(signer)
    entered, opened = threading.Event(), threading.Event()

    def trouble(readings) -> None:
        entered.set()
        assert opened.wait(PATIENCE)

    bench.pipeline.trouble = trouble
    with bench:
        bench.submit(signer.sign(bodies[0]))
        assert entered.wait(PATIENCE)
        for body in bodies[1:4]:
            bench.submit(signer.sign(body))
        bench.theirs.shutdown(SHUT_RDWR)
        assert [bench.told() for _ in range(4)] == [Answer(503, "store")] * 4
        assert bench.ask(signer.sign(bodies[4])) == BUSY
        opened.set()
    assert bench.depth == 0


def test_a_fetch_that_outlives_the_commit_process_is_refused(signer, bodies) -> None:
    """A request whose certificate arrives after the end of the commit process is answered all the same."""
    bench = Bench(signer)
    fetching, arrived = threading.Event(), threading.Event()

    def fetch(url: str) -> bytes:
        fetching.set()
        assert arrived.wait(PATIENCE)
        return signer.certificate_pem

    bench.fetch = fetch
    with bench:
        bench.submit(signer.sign(bodies[0], REAL_ARN))
        assert fetching.wait(PATIENCE)
        bench.theirs.shutdown(SHUT_RDWR)
        until(lambda: bench.intake._state is CommitState.ENDED, "the end of the process")  # noqa: SLF001
        arrived.set()
        assert bench.told() == Answer(503, "store")
    assert bench.depth == 0


def test_refusals_counted_from_many_threads_are_all_counted() -> None:
    """Whichever thread of a server it is."""
    metrics = Metrics(lambda: 0)
    threads = [
        threading.Thread(target=lambda: [metrics.refuse("signature", 403) for _ in range(2_000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.refused == {"signature": 8_000}
    assert b'sesight_refusals_total{reason="signature",status="403"} 8000.0' in metrics.text()


def test_metrics_are_told_while_the_store_is_away() -> None:
    """That is when they are wanted most."""
    metrics = Metrics(lambda: 0)

    def away() -> int:
        raise StoreUnavailable("The store is closed.")

    metrics.watch(lambda: 7, away)
    assert b"sesight_queue_depth 7.0" in metrics.text()
    assert b"sesight_newest_event_age_seconds NaN" in metrics.text()
