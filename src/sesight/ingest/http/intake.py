"""Intake over HTTP: proofs and readings on the server's loop, commits in the writer's process.

A notification is answered only after the commit that holds it. While the writer commits one batch,
the next one gathers, so that under load a batch grows by itself and the price of a commit is shared.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from msgspec import Struct

from sesight.domain.errors import Untrusted
from sesight.ingest.http.commit_process import own
from sesight.ingest.http.refusal_log import Refusals
from sesight.ingest.journal import report
from sesight.ingest.transport.certificates import CertificateNeeded, CertificateUnavailable
from sesight.ingest.transport.sns import Notification, Topic, confirmation_url, parse, verify

if TYPE_CHECKING:
    from sesight.domain.event import Event
    from sesight.domain.ports import Clock
    from sesight.ingest.http.commit_process import Batch, Committed, Proven
    from sesight.ingest.metrics import Metrics
    from sesight.ingest.transport.certificates import Certificates

_log = logging.getLogger(__name__)

BATCH = 1_024
"""Requests that the writer commits at once."""

FETCHES_WAITING = 64
"""Requests that may wait for a certificate: forgeries can name ever new ones."""

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


class _Request(Struct):
    body: bytes
    headers: Mapping[str, str]
    answer: Callable[[Answer], None]


class Intake:
    """Takes notifications in. All of it happens on the running loop, save fetches."""

    def __init__(
        self,
        topics: Mapping[str, Topic],
        certificates: Certificates,
        metrics: Metrics,
        *,
        confirm: Callable[[str], object],
        journal: Callable[[bytes], object] | None = None,
        clock: Clock,
        limit: int = 2_048,
    ) -> None:
        """Keep the adapters. `confirm` fetches a checked confirmation URL, in a thread; `journal`
        takes the lines of each batch; `limit` bounds the requests under way, beyond it the answer is
        503.
        """
        self._topics = topics
        self._certificates = certificates
        self._metrics = metrics
        self._confirm = confirm
        self._journal = journal
        self._clock = clock
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._refusals = Refusals(self._loop.call_later)
        self._stopping = False
        self._under_way = 0
        self._settled = asyncio.Event()
        self._fetcher = ThreadPoolExecutor(1, "fetcher")
        self._fetching: set[asyncio.Task[None]] = set()
        self._waiting: list[tuple[_Request, Proven]] = []
        self._given: list[_Request] | None = None
        self._send: Callable[[Batch], None] | None = None
        self._due = False
        self._worked = False
        self._untidy = False
        self._tidied = self._loop.time()

    def start(self, send: Callable[[Batch], None]) -> None:
        """Begin to give batches to the writer; `committed` and `lost` hear of it."""
        self._send = send
        self._loop.call_later(IDLE_SECONDS, self._look)
        self._hand_over()

    async def stop(self) -> None:
        """Take no more and finish what was taken."""
        self._stopping = True
        while self._fetching:
            await asyncio.wait(self._fetching)
        self._fetcher.shutdown()
        while self._under_way:
            self._settled.clear()
            await self._settled.wait()
        self._refusals.tell()

    @property
    def depth(self) -> int:
        """Return how many requests are under way."""
        return self._under_way

    # -- proofs ----------------------------------------------------------------------------------

    def submit(
        self, body: bytes, headers: Mapping[str, str], answer: Callable[[Answer], None]
    ) -> None:
        """Take one request; `answer` is called once, now or later."""
        request = self._begin(body, headers, answer)
        if request is None:
            return
        try:
            self._prove(request)
        except Exception as error:  # noqa: BLE001 - refused, named and logged
            self._fail(request, error)

    def submit_own(self, origin: str, event: Event, answer: Callable[[Answer], None]) -> None:
        """Take an event of our own, which needs no proof; `answer` is called once, now or later."""
        request = self._begin(b"", {}, answer)
        if request is not None:
            self._wait(request, own(origin, event))

    def _begin(
        self, body: bytes, headers: Mapping[str, str], answer: Callable[[Answer], None]
    ) -> _Request | None:
        """Return a request that is now under way, None if there is no room for it."""
        if self._under_way >= self._limit or self._stopping:
            answer(self.refusal("busy", 503))
            return None
        self._under_way += 1
        return _Request(body, headers, answer)

    def _prove(self, request: _Request) -> None:
        """Pass a request on if it is genuine; what its proof lacks is fetched first."""
        found = parse(request.body, request.headers)
        try:
            topic = verify(found, self._topics, self._certificates)
        except CertificateNeeded:
            if len(self._fetching) > FETCHES_WAITING:
                self._refuse(request, "certificate-queue", 503)
            else:
                self._later(request, self._prove_by(found.certificate_url, request))
        else:
            self._pass(request, found, topic)

    def _pass(self, request: _Request, found: Notification, topic: Topic) -> None:
        """Let a genuine request wait for the writer; a subscription is confirmed first."""
        if found.type == "SubscriptionConfirmation":
            url = confirmation_url(found, topic, self._clock())
            if topic.pinned is None:
                self._later(request, self._confirm_by(url, request, found))
                return
        self._wait(request, (found.type, found.message))

    # -- what may take seconds -------------------------------------------------------------------

    def _later(self, request: _Request, step: Coroutine[None, None, None]) -> None:
        async def attempt() -> None:
            try:
                await step
            except Exception as error:  # noqa: BLE001 - as above
                self._fail(request, error)

        task = self._loop.create_task(attempt())
        self._fetching.add(task)
        task.add_done_callback(self._fetching.discard)

    async def _prove_by(self, certificate_url: str, request: _Request) -> None:
        await self._loop.run_in_executor(self._fetcher, self._certificates.fetch, certificate_url)
        found = parse(request.body, request.headers)
        self._pass(request, found, verify(found, self._topics, self._certificates))

    async def _confirm_by(self, url: str, request: _Request, found: Notification) -> None:
        try:
            await self._loop.run_in_executor(self._fetcher, self._confirm, url)
        except (OSError, ValueError):
            self._refuse(request, "confirmation-failed", 503)
        else:
            self._wait(request, (found.type, found.message))

    # -- the writer ------------------------------------------------------------------------------

    def _wait(self, request: _Request, proven: Proven) -> None:
        """Let a request wait for the writer, with all that come in the same turn of the loop."""
        self._waiting.append((request, proven))
        if not self._due:
            self._due = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._due = False
        if self._send is None or self._given is not None or not (self._waiting or self._untidy):
            return
        batch = [] if self._untidy else self._waiting[:BATCH]
        del self._waiting[: len(batch)]
        self._worked = not self._untidy
        self._untidy = False
        self._given = [request for request, _ in batch]
        self._send([proven for _, proven in batch])

    def committed(self, done: Committed) -> None:
        """Hear what became of the batch that was given."""
        batch = self._given or []
        self._given = None
        self._hand_over()
        if self._journal is not None and done.lines:
            self._journal(done.lines)
        for counts in done.counts:
            self._metrics.count(counts)
        if done.swept is not None:
            self._metrics.sweep(done.swept)
            _log.log(*report(done.swept))
        answers = [TAKEN] * len(batch)
        for at, reason, status in done.refused:
            answers[at] = self.refusal(reason, status)
        self._end(len(batch))
        for request, answer in zip(batch, answers, strict=True):
            request.answer(answer)

    def lost(self) -> None:
        """Hear that the writer is gone: all under way is refused, and nothing more is taken."""
        self._stopping = True
        self._send = None
        requests = (self._given or []) + [request for request, _ in self._waiting]
        self._given = None
        self._waiting = []
        for request in requests:
            self._refuse(request, "store", 503)

    def _look(self) -> None:
        """Give the writer time to tidy up when there is nothing to do, and now and then anyhow."""
        now = self._loop.time()
        if not self._worked or now - self._tidied > BUSY_SECONDS:
            self._tidied = now
            self._untidy = True
            self._hand_over()
        self._worked = False
        self._loop.call_later(IDLE_SECONDS, self._look)

    # -- ends ------------------------------------------------------------------------------------

    def _fail(self, request: _Request, error: Exception) -> None:
        """Refuse a request for what was raised: it is its own trouble and no other's."""
        if isinstance(error, Untrusted):
            self._refuse(request, error.reason, error.status, str(error))
        elif isinstance(error, CertificateNeeded | CertificateUnavailable):
            self._refuse(request, "certificate-unavailable", 503)
        else:
            _log.error(
                "a notification could not be checked; its sender will try again", exc_info=error
            )
            self._refuse(request, "internal", 500)

    def _refuse(self, request: _Request, reason: str, status: int, detail: str = "") -> None:
        self._end(1)
        request.answer(self.refusal(reason, status, detail))

    def refusal(self, reason: str, status: int, detail: str = "") -> Answer:
        """Count a refusal and return its answer."""
        self._metrics.refuse(reason, status)
        self._refusals.add(reason, status)
        return Answer(status, reason, detail)

    def _end(self, requests: int) -> None:
        self._under_way -= requests
        if not self._under_way:
            self._settled.set()
