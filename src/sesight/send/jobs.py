"""Jobs: orders too large for a request, worked through in this process's own time.

Nothing of an order but its intents is kept, since its contexts and figures are nobody else's: a job
that a stopped process left is gone on with when the same order comes again under the same key.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import asdict

from sesight.domain.errors import NotFound, SendingStopped, SesightError
from sesight.domain.sending import (
    RETRYABLE,
    UNRESOLVED,
    Intent,
    JobResult,
    SendBatch,
    SendJob,
    SendState,
)
from sesight.send.claims import result_of

if TYPE_CHECKING:
    from sesight.domain.ports import Clock, SendLog
    from sesight.send.mailing import Mailing
    from sesight.send.sender import Sender

JOB = "job"
"""The kind of a job's batch."""

AT_ONCE = 4
"""Jobs of a process at most that run at once."""

RECIPIENTS = 10_000
"""Recipients of a job at most."""

REMEMBERED = 100
"""Ended jobs of which a process remembers why they ended; the log has the rest."""

WAIT = 30.0
"""Seconds a process that stops waits for messages under way."""


class TooManyJobs(SendingStopped):
    """As many jobs run as may: send another when one has finished."""

    retry_after = 60


class _Running(Struct):
    """A job of this process: its thread, how it is stopped, and why it ended early."""

    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    detail: str | None = None


class Jobs:
    """The jobs of this process, and what the log says of others. Safe to use from any thread."""

    def __init__(self, log: SendLog, clock: Clock) -> None:
        """Start with none."""
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self._closed = False

    def start(self, mailing: Mailing, sender: Sender) -> SendJob:
        """Work through an order in a thread; return how far it is. One under way just goes on.

        Raises Conflict for another order under the same id, SendingStopped when as many run as may.
        """
        with self._lock:
            known = self._log.batch(mailing.id)
            if known is not None:
                mailing.check_same(known)
            live = {id_ for id_, each in self._running.items() if _alive(each)}
            if mailing.id not in live and (known is None or self._has_rest(known)):
                if self._closed or len(live) >= AT_ONCE:
                    raise TooManyJobs(
                        f"{AT_ONCE} jobs are running already: send this one when one has finished."
                    )
                if known is None:
                    # recorded before the answer: no other order gets in under its id
                    now = self._clock()
                    mailing.check_same(self._log.begin(mailing.batch(now, "", now)))
                running = _Running()
                running.thread = threading.Thread(
                    target=self._run, args=(mailing, sender, running), name="job", daemon=True
                )
                ended = [id_ for id_ in self._running if id_ not in live]
                for id_ in ended[: max(len(ended) - REMEMBERED, 0)]:
                    del self._running[id_]
                self._running[mailing.id] = running
                running.thread.start()
        return self.job(mailing.stream, mailing.id)

    def job(self, stream: str, id_: str) -> SendJob:
        """Return how far a job of a stream is. Raises NotFound."""
        with self._lock:
            running = self._running.get(id_)
        batch = self._log.batch(id_)
        if batch is None or batch.stream != stream or batch.kind != JOB:
            raise NotFound("There is no such job, or it was long ago.")
        detail = None if running is None else running.detail
        state = "finished"
        if batch.finished_at is None:
            elsewhere = running is None and batch.leased_until > self._clock()
            state = "running" if elsewhere or _alive(running) else "interrupted"
        if state == "interrupted" and detail is None:
            detail = "Not everybody was tried: ask for it again under the same key to go on."
        return SendJob(
            id=id_,
            stream=batch.stream,
            campaign=batch.campaign,
            state=state,
            total=batch.total or 0,
            counts=self._counts(id_),
            started_at=batch.at,
            finished_at=batch.finished_at,
            detail=detail,
        )

    def results(
        self, stream: str, id_: str, limit: int, after: int, sender: Sender
    ) -> tuple[list[JobResult], int | None]:
        """Return results in the order of the request, those after so many, and after how many to
        continue, None at the end. Raises NotFound.
        """
        self.job(stream, id_)
        intents = sorted(sender.claims.of_batch(id_).values(), key=_place)
        results = [_result(sender.claims.resolve(each)) for each in intents[after : after + limit]]
        end = after + len(results)
        return results, end if end < len(intents) else None

    def close(self) -> None:
        """Stop all jobs; messages under way are told to the log first."""
        with self._lock:
            self._closed = True
            running = list(self._running.values())
        for each in running:
            each.stop.set()
        for each in running:
            if each.thread is not None:
                each.thread.join(WAIT)

    def _run(self, mailing: Mailing, sender: Sender, running: _Running) -> None:
        try:
            sender.send(mailing, stop=running.stop)
        except SesightError as error:
            running.detail = str(error)

    def _has_rest(self, batch: SendBatch) -> bool:
        """Return whether there is, or may be, somebody left to try."""
        rest = self._log.progress(batch.id).keys() & (RETRYABLE | UNRESOLVED)
        return batch.finished_at is None or bool(rest)

    def _counts(self, id_: str) -> dict[str, int]:
        progress = self._log.progress(id_)
        return {state.value: progress[state] for state in SendState if progress.get(state)}


def _place(intent: Intent) -> tuple[int, str]:
    return intent.number or sys.maxsize, intent.key


def _result(intent: Intent) -> JobResult:
    """Return a job's result, which tells of a recipient without an address by its number."""
    numbered = f"number {intent.number}" if intent.number is not None else intent.key
    told = result_of(intent.address or numbered, intent)
    return JobResult(**asdict(told), number=intent.number)


def _alive(running: _Running | None) -> bool:
    return running is not None and running.thread is not None and running.thread.is_alive()
