"""Intake over HTTP: notifications are verified on the server's loop and committed in another process.

A notification is answered only after the commit that holds it. While the commit process has a batch, the
next one gathers: under load the batches grow by themselves and share the cost of a commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from typing import TYPE_CHECKING

from msgspec import Struct

from sesight.domain.errors import Untrusted
from sesight.ingest.http.commit_process import CommitBatch, TidyUp, TidyUpResult, own_event
from sesight.ingest.http.refusal_log import RefusalLog
from sesight.ingest.journal import sweep_line
from sesight.ingest.transport.certificates import CertificateNeeded, CertificateUnavailable
from sesight.ingest.transport.sns import Notification, Topic, confirmation_url, parse, verify

if TYPE_CHECKING:
    from sesight.domain.event import Event
    from sesight.domain.ports import Clock
    from sesight.ingest.http.commit_process import (
        CommitReply,
        CommitRequest,
        CommitResult,
        Verified,
    )
    from sesight.ingest.metrics import Metrics
    from sesight.ingest.transport.certificates import Certificates

_log = logging.getLogger(__name__)

BATCH = 1_024
"""Requests in one batch at most."""

FETCHES_WAITING = 64
"""Requests that may wait for a certificate: forgeries can name ever new ones."""

IDLE_SECONDS = 5.0
"""How often the commit process tidies up while there is nothing to commit."""

BUSY_SECONDS = 60.0
"""How often it tidies up under constant load."""


class Answer(Struct, frozen=True):
    """The HTTP answer to a notification: its status and, unless that is 200, the code of the reason
    and perhaps a sentence.
    """

    status: int
    reason: str = ""
    detail: str = ""


TAKEN = Answer(200)


class CommitState(Enum):
    """What the commit process is doing.

    STARTING → IDLE: the process has started (`start`).
    IDLE → SCHEDULED: a request waits. It is sent at the end of this turn of the loop, together with
    all others that arrive in it.
    SCHEDULED → COMMITTING: the batch is sent.
    IDLE → TIDYING: nothing was committed for a while.
    COMMITTING, TIDYING → IDLE, COMMITTING or TIDYING: the reply has come. What comes next depends on
    the requests that wait and on the time of the last tidy-up.
    any → ENDED: the process is gone; every request under way is refused, and so is every new one.
    """

    STARTING = auto()
    IDLE = auto()
    SCHEDULED = auto()
    COMMITTING = auto()
    TIDYING = auto()
    ENDED = auto()


class _Request(Struct):
    body: bytes
    headers: Mapping[str, str]
    answer: Callable[[Answer], None]


class Intake:
    """Accepts notifications. Everything but fetches runs on the event loop that it is made on."""

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
        idle_seconds: float | None = None,
    ) -> None:
        """`confirm` fetches a verified confirmation URL, in a thread. `journal` receives the lines of
        each batch. With `limit` requests under way, further ones are answered 503.
        """
        self._topics = topics
        self._certificates = certificates
        self._metrics = metrics
        self._confirm = confirm
        self._journal = journal
        self._clock = clock
        self._limit = limit
        self._idle_seconds = IDLE_SECONDS if idle_seconds is None else idle_seconds
        self._loop = asyncio.get_running_loop()
        self._refusals = RefusalLog(self._loop.call_later)
        self._is_stopping = False
        self._under_way = 0
        self._finished = asyncio.Event()
        self._fetcher = ThreadPoolExecutor(1, "fetcher")
        self._fetching: set[asyncio.Task[None]] = set()
        self._state = CommitState.STARTING
        self._send: Callable[[CommitRequest], None]
        self._waiting: list[tuple[_Request, Verified]] = []
        self._committing: list[_Request] = []
        self._committed_at = self._tidied_at = self._loop.time()

    def start(self, send: Callable[[CommitRequest], None]) -> None:
        """Begin to send batches to the commit process, which replies to `receive`."""
        self._send = send
        self._loop.call_later(self._idle_seconds, self._check_idle)
        self._continue()

    async def stop(self) -> None:
        """Accept no more requests and finish those under way."""
        self._is_stopping = True
        while self._fetching:
            await asyncio.wait(self._fetching)
        self._fetcher.shutdown()
        while self._under_way:
            self._finished.clear()
            await self._finished.wait()
        self._refusals.flush()

    @property
    def depth(self) -> int:
        """Return how many requests are under way."""
        return self._under_way

    # -- verification ----------------------------------------------------------------------------

    def submit(
        self, body: bytes, headers: Mapping[str, str], answer: Callable[[Answer], None]
    ) -> None:
        """Accept one request; `answer` is called once, now or later."""
        request = self._begin(body, headers, answer)
        if request is None:
            return
        try:
            self._verify(request)
        except Exception as error:  # noqa: BLE001 - refused and logged
            self._fail(request, error)

    def submit_own(self, origin: str, event: Event, answer: Callable[[Answer], None]) -> None:
        """Accept an event of our own, which needs no proof; `answer` is called once, now or later."""
        request = self._begin(b"", {}, answer)
        if request is not None:
            self._enqueue(request, own_event(origin, event))

    def _begin(
        self, body: bytes, headers: Mapping[str, str], answer: Callable[[Answer], None]
    ) -> _Request | None:
        """Return a request that is now under way, None if there is no room for it."""
        if self._under_way >= self._limit or self._is_stopping:
            answer(self.refusal("busy", 503))
            return None
        self._under_way += 1
        return _Request(body, headers, answer)

    def _verify(self, request: _Request) -> None:
        """Enqueue a request if it is genuine, after fetching its certificate if that is missing."""
        notification = parse(request.body, request.headers)
        try:
            topic = verify(notification, self._topics, self._certificates)
        except CertificateNeeded:
            if len(self._fetching) > FETCHES_WAITING:
                self._refuse(request, "certificate-queue", 503)
            else:
                self._run(request, self._fetch_and_verify(notification.certificate_url, request))
        else:
            self._accept(request, notification, topic)

    def _accept(self, request: _Request, notification: Notification, topic: Topic) -> None:
        """Enqueue a genuine request, after confirming the subscription if it asks for that."""
        if notification.type == "SubscriptionConfirmation":
            url = confirmation_url(notification, topic, self._clock())
            if topic.pinned is None:
                self._run(request, self._confirm_subscription(url, request, notification))
                return
        self._enqueue(request, (notification.type, notification.message))

    # -- fetches, which may take seconds ---------------------------------------------------------

    def _run(self, request: _Request, step: Coroutine[None, None, None]) -> None:
        async def attempt() -> None:
            try:
                await step
            except Exception as error:  # noqa: BLE001 - refused and logged
                self._fail(request, error)

        task = self._loop.create_task(attempt())
        self._fetching.add(task)
        task.add_done_callback(self._fetching.discard)

    async def _fetch_and_verify(self, certificate_url: str, request: _Request) -> None:
        await self._loop.run_in_executor(self._fetcher, self._certificates.fetch, certificate_url)
        notification = parse(request.body, request.headers)
        topic = verify(notification, self._topics, self._certificates)
        self._accept(request, notification, topic)

    async def _confirm_subscription(
        self, url: str, request: _Request, notification: Notification
    ) -> None:
        try:
            await self._loop.run_in_executor(self._fetcher, self._confirm, url)
        except (OSError, ValueError):
            self._refuse(request, "confirmation-failed", 503)
        else:
            self._enqueue(request, (notification.type, notification.message))

    # -- the commit process ----------------------------------------------------------------------

    def _enqueue(self, request: _Request, notification: Verified) -> None:
        self._waiting.append((request, notification))
        if self._state is CommitState.IDLE:
            self._state = CommitState.SCHEDULED
            self._loop.call_soon(self._continue)
        elif self._state is CommitState.ENDED:
            self._refuse_all()

    def _continue(self) -> None:
        """Send what comes next, if anything: a tidy-up that is overdue, else the requests that wait."""
        if self._state is CommitState.ENDED:
            return
        now = self._loop.time()
        if now - self._tidied_at > BUSY_SECONDS:
            self._tidy_up()
        elif self._waiting:
            batch = self._waiting[:BATCH]
            del self._waiting[: len(batch)]
            self._committing = [request for request, _ in batch]
            self._committed_at = now
            self._state = CommitState.COMMITTING
            self._send(CommitBatch([notification for _, notification in batch]))
        else:
            self._state = CommitState.IDLE

    def _tidy_up(self) -> None:
        self._tidied_at = self._loop.time()
        self._state = CommitState.TIDYING
        self._send(TidyUp())

    def _check_idle(self) -> None:
        """Tidy up if there was nothing to commit since the last check."""
        idle = self._loop.time() - self._committed_at
        if self._state is CommitState.IDLE and idle >= self._idle_seconds:
            self._tidy_up()
        self._loop.call_later(self._idle_seconds, self._check_idle)

    def receive(self, reply: CommitReply) -> None:
        """Accept the reply to the last request."""
        if isinstance(reply, TidyUpResult):
            self._continue()
            if reply.swept is not None:
                self._metrics.sweep(reply.swept)
                _log.log(*sweep_line(reply.swept))
            return
        requests, self._committing = self._committing, []
        self._continue()  # first, so that the process does not wait for the answers below
        self._answer(requests, reply)

    def _answer(self, requests: list[_Request], committed: CommitResult) -> None:
        if self._journal is not None and committed.lines:
            self._journal(committed.lines)
        for counts in committed.counts:
            self._metrics.count(counts)
        answers = [TAKEN] * len(requests)
        for n, reason, status in committed.refused:
            answers[n] = self.refusal(reason, status)
        self._end(len(requests))
        for request, answer in zip(requests, answers, strict=True):
            request.answer(answer)

    def process_ended(self) -> None:
        """Refuse everything under way and everything to come: the commit process is gone."""
        self._is_stopping = True
        self._state = CommitState.ENDED
        self._refuse_all()

    def _refuse_all(self) -> None:
        requests = self._committing + [request for request, _ in self._waiting]
        self._committing = []
        self._waiting = []
        for request in requests:
            self._refuse(request, "store", 503)

    # -- ends ------------------------------------------------------------------------------------

    def _fail(self, request: _Request, error: Exception) -> None:
        """Refuse a request for an exception that was raised by it; others go on."""
        if isinstance(error, Untrusted):
            self._refuse(request, error.reason, error.status, str(error))
        elif isinstance(error, CertificateNeeded | CertificateUnavailable):
            self._refuse(request, "certificate-unavailable", 503)
        else:
            _log.error(
                "A notification could not be verified; its sender will retry it.", exc_info=error
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
            self._finished.set()
