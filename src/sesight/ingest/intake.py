"""Intake over HTTP: proofs in bounded threads, a bounded queue, one writer with group commit.

A notification is answered only after the commit that holds it. Verifiers and the writer drain
whatever waits, so that under load a batch grows by itself and the price of a commit is shared.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from sesight.domain.errors import SesightError, StoreUnavailable, Untrusted
from sesight.domain.event import Disposition
from sesight.ingest.certificates import CertificateNeeded, CertificateUnavailable
from sesight.ingest.envelope import open_notification
from sesight.ingest.reading import Reading, read_envelopes
from sesight.ingest.sns import Notification, Topic, confirmation_url, parse, verify

if TYPE_CHECKING:
    from collections.abc import Collection

    from sesight.domain.ports import Clock
    from sesight.ingest.batch import Processed
    from sesight.ingest.certificates import Certificates
    from sesight.ingest.pipeline import Pipeline

_log = logging.getLogger(__name__)

ORIGIN = "http"
"""The origin of readings taken in here."""

DRAIN = 1_024
"""Requests that the writer commits at once."""

FETCHES_WAITING = 64
"""Requests that may wait for a certificate: forgeries can name ever new ones."""

VERIFY_AT_ONCE = 32
"""Requests a verifier takes at once; the others get theirs meanwhile."""

IDLE_SECONDS = 5.0
"""Without work for so long, the writer tidies up: checkpoints and the sweep."""

BUSY_SECONDS = 60.0
"""With work all the time, it tidies up this often."""


class Answer(Struct, frozen=True):
    """The HTTP status of a notification; where it is not 200 also the code of the reason, and a sentence
    of the error where there is one.
    """

    status: int
    reason: str = ""
    detail: str = ""


TAKEN = Answer(200)
BUSY = Answer(503, "busy")


class _Request(Struct):
    body: bytes
    headers: Mapping[str, str]
    answer: Callable[[Answer], None]


_Proven = tuple[_Request, list[Reading]]

Step = Callable[[_Request], Answer | None]
"""What is done with one request: None passes it on, an answer is the end of it."""

Answers = list[tuple[Callable[[Answer], None], Answer]]
"""Answers of one batch, each with whom to tell."""


class Intake:
    """Takes notifications in. `submit` never waits and may be called from any thread."""

    def __init__(
        self,
        pipeline: Pipeline,
        topics: Mapping[str, Topic],
        certificates: Certificates,
        *,
        confirm: Callable[[str], object],
        deliver: Callable[[Answers], None],
        refused: Callable[[str, int], None],
        tidy: Callable[[], None],
        known_sets: Collection[str],
        clock: Clock,
        committed: Callable[[float], None] = lambda _: None,
        limit: int = 2_048,
        verifiers: int = 2,
    ) -> None:
        """Keep the adapters.

        `confirm` fetches a checked confirmation URL; `deliver` hands a batch of answers back to the
        loop; `refused` counts (reason, status), `committed` the seconds of a batch; `tidy` runs when
        there is nothing to do; `limit` bounds the requests under way, beyond it the answer is 503.
        """
        self._pipeline = pipeline
        self._topics = topics
        self._certificates = certificates
        self._confirm = confirm
        self._deliver = deliver
        self._refused = refused
        self._committed = committed
        self._tidy = tidy
        self._known_sets = known_sets
        self._clock = clock
        self._limit = limit
        self._under_way = 0
        self._counting = threading.Lock()
        self._untrusted: SimpleQueue[_Request | None] = SimpleQueue()
        self._slow: SimpleQueue[tuple[_Request, Step] | None] = SimpleQueue()
        self._trusted: SimpleQueue[list[_Proven] | None] = SimpleQueue()
        self._stopping = False
        self._verifiers = [
            threading.Thread(target=self._verify, name=f"verifier-{n}") for n in range(verifiers)
        ]
        self._fetcher = threading.Thread(target=self._fetch, name="certificates")
        self._writer = threading.Thread(target=self._write, name="writer")

    def start(self) -> None:
        """Start the threads."""
        for thread in (*self._verifiers, self._fetcher, self._writer):
            thread.start()

    def stop(self) -> None:
        """Finish what was taken, then stop the threads."""
        with self._counting:
            self._stopping = True
        for _ in self._verifiers:
            self._untrusted.put(None)
        for thread in self._verifiers:
            thread.join()
        self._slow.put(None)
        self._fetcher.join()
        self._trusted.put(None)
        self._writer.join()

    @property
    def depth(self) -> int:
        """Return how many requests are under way."""
        return self._under_way

    def submit(
        self, body: bytes, headers: Mapping[str, str], answer: Callable[[Answer], None]
    ) -> bool:
        """Take one request; `answer` is called later. False if there is no room (say 503)."""
        with self._counting:
            if self._under_way >= self._limit or self._stopping:
                return False
            self._under_way += 1
            self._untrusted.put(_Request(body, headers, answer))
        return True

    # -- verifiers -------------------------------------------------------------------------------

    def _verify(self) -> None:
        while True:
            batch = _drain(self._untrusted, VERIFY_AT_ONCE)
            answers: Answers = []
            proven: list[_Proven] = []
            for request in batch:
                if request is not None:
                    answer = self._attempt(partial(self._prove, proven), request)
                    if answer is not None:
                        answers.append((request.answer, answer))
            self._finish(answers)
            if proven:
                self._trusted.put(proven)  # together: each put would wake the writer for one event
            if batch[-1] is None:
                return

    def _attempt(self, step: Step, request: _Request) -> Answer | None:
        """Take a step; whatever it raises is the request's own, and the thread serves the others."""
        try:
            return step(request)
        except Untrusted as error:
            return self._refuse(error.reason, error.status, str(error))
        except (CertificateNeeded, CertificateUnavailable):
            return self._refuse("certificate-unavailable", 503)
        except Exception:  # noqa: BLE001 - refused, named and logged
            _log.exception("a notification could not be checked; its sender will try again")
            return self._refuse("internal", 500)

    def _prove(self, proven: list[_Proven], request: _Request) -> Answer | None:
        """Add a request to what goes to the writer if it is genuine."""
        found = parse(request.body, request.headers)
        try:
            topic = verify(found, self._topics, self._certificates)
        except CertificateNeeded:
            if self._slow.qsize() >= FETCHES_WAITING:
                return self._refuse("certificate-queue", 503)
            self._slow.put((request, partial(self._prove_by, found.certificate_url)))
        else:
            proven.extend(self._read(request, found, topic))
        return None

    def _read(self, request: _Request, found: Notification, topic: Topic) -> Iterator[_Proven]:
        """Yield a genuine request with what is in it; nothing where that takes a fetch first."""
        if found.type == "Notification":
            readings = read_envelopes(
                open_notification(found.type, found.message, ORIGIN), self._known_sets
            )
        elif found.type == "SubscriptionConfirmation":
            url = confirmation_url(found, topic, self._clock())
            if topic.pinned is None:
                self._slow.put((request, partial(self._confirm_by, url)))
                return
            readings = [Reading(ORIGIN, nothing="subscription", confirmed=True)]
        else:
            # somebody unsubscribed us: worth an alarm, never an automatic re-subscription
            readings = [Reading(ORIGIN, nothing="unsubscribed-topic")]
        yield request, readings

    def _refuse(self, reason: str, status: int, detail: str = "") -> Answer:
        self._refused(reason, status)
        return Answer(status, reason, detail)

    # -- what may take seconds -------------------------------------------------------------------

    def _fetch(self) -> None:
        while (errand := self._slow.get()) is not None:
            request, step = errand
            answer = self._attempt(step, request)
            if answer is not None:
                self._finish([(request.answer, answer)])

    def _prove_by(self, certificate_url: str, request: _Request) -> None:
        """Fetch a certificate, then pass the request on to the writer if it is genuine."""
        self._certificates.fetch(certificate_url)
        found = parse(request.body, request.headers)
        topic = verify(found, self._topics, self._certificates)
        if proven := list(self._read(request, found, topic)):
            self._trusted.put(proven)

    def _confirm_by(self, url: str, request: _Request) -> Answer | None:
        try:
            self._confirm(url)
        except (OSError, ValueError):
            return self._refuse("confirmation-failed", 503)
        reading = Reading(ORIGIN, nothing="subscription", confirmed=True)
        self._trusted.put([(request, [reading])])
        return None

    # -- the writer ------------------------------------------------------------------------------

    def _write(self) -> None:
        tidied = monotonic()
        while True:
            try:
                batch = _drain(self._trusted, DRAIN, IDLE_SECONDS)
            except Empty:
                batch = []
            taken = [proven for some in batch if some is not None for proven in some]
            if taken:
                self._commit(taken)
            if not batch or monotonic() - tidied > BUSY_SECONDS:
                self._tidy_up()
                tidied = monotonic()
            if batch and batch[-1] is None:
                return

    def _tidy_up(self) -> None:
        try:
            self._tidy()
        except SesightError as error:
            _log.warning("the store could not be tidied and will be later: %s", error)
        except Exception:  # noqa: BLE001 - what can wait must not stop the writer
            _log.exception("the store could not be tidied and will be later")

    def _commit(self, taken: list[tuple[_Request, list[Reading]]]) -> None:
        readings = [reading for _, of_request in taken for reading in of_request]
        begun = monotonic()
        try:
            done = iter(self._pipeline.process(readings))
            refused = [_refusal([next(done) for _ in of_request]) for _, of_request in taken]
        except StoreUnavailable:
            refused = ["store"] * len(taken)
        except Exception:  # noqa: BLE001 - refused, named and logged below
            # a bug must not take the other requests of the batch with it, nor the writer
            if len(taken) > 1:
                for one in taken:
                    self._commit([one])
                return
            _log.exception("an event could not be processed; its sender will try again")
            self._finish([(taken[0][0].answer, self._refuse("internal", 500))])
            return
        else:
            self._committed(monotonic() - begun)
        self._finish(
            [
                (request.answer, TAKEN if reason is None else self._refuse(reason, 503))
                for (request, _), reason in zip(taken, refused, strict=True)
            ]
        )

    def _finish(self, answers: Answers) -> None:
        if answers:
            with self._counting:
                self._under_way -= len(answers)
            self._deliver(answers)


def _refusal(processed: list[Processed]) -> str | None:
    """Return why a request cannot be answered 200: the first reading that was not stored."""
    for each in processed:
        if each.disposition is Disposition.REFUSED:
            return each.reason or "store"
    return None


T = TypeVar("T")


def _drain(queue: SimpleQueue[T], most: int, timeout: float | None = None) -> list[T]:
    """Wait for one, then take all that is there, at most `most`. Raises Empty after `timeout` s."""
    found = [queue.get(timeout=timeout)]
    try:
        while len(found) < most and found[-1] is not None:
            found.append(queue.get_nowait())
    except Empty:
        pass
    return found
