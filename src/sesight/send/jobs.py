"""Jobs: mailings too large for one request, worked through by threads of this process.

Only the intents of a mailing are stored; contexts and figures are not, since they are personal. So a
job that a stopped process left behind resumes when the same request comes again under the same key.
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

MAX_RUNNING = 4
"""The largest number of jobs that a process runs at once."""

RECIPIENTS = 10_000
"""The largest number of recipients of a job."""

REMEMBERED = 100
"""How many ended jobs a process remembers the error of. The log has everything else."""

CLOSE_SECONDS = 30.0
"""How long a stopping process waits for messages under way."""


class TooManyJobs(SendingStopped):
    """The process already runs as many jobs as it may: start another when one has finished."""

    retry_after = 60


class _RunningJob(Struct):
    """A job of this process: its thread, what stops it, and why it ended early."""

    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    detail: str | None = None


class Jobs:
    """The jobs of this process, and those of others as the log has them. Safe to use from any thread."""

    def __init__(self, log: SendLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, _RunningJob] = {}
        self._closed = False

    def start(self, mailing: Mailing, sender: Sender) -> SendJob:
        """Work through a mailing in a thread; return the job. One that is under way just continues.

        Raises Conflict for another mailing under the same id, TooManyJobs when as many run as may.
        """
        with self._lock:
            batch = self._log.batch(mailing.id)
            if batch is not None:
                mailing.check_same(batch)
            live = {id_ for id_, job in self._running.items() if _is_alive(job)}
            if mailing.id not in live and (batch is None or self._has_rest(batch)):
                if self._closed or len(live) >= MAX_RUNNING:
                    raise TooManyJobs(
                        f"{MAX_RUNNING} jobs are running already: send this one when one has finished."
                    )
                if batch is None:
                    # recorded before the answer, so that no other mailing takes its id
                    now = self._clock()
                    mailing.check_same(self._log.begin(mailing.batch(now, "", now)))
                running = _RunningJob()
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
        """Return a job of a stream: its state and progress. Raises NotFound."""
        with self._lock:
            running = self._running.get(id_)
        batch = self._log.batch(id_)
        if batch is None or batch.stream != stream or batch.kind != JOB:
            raise NotFound("There is no such job, or it was too long ago.")
        detail = None if running is None else running.detail
        state = "finished"
        if batch.finished_at is None:
            elsewhere = running is None and batch.leased_until > self._clock()
            state = "running" if elsewhere or _is_alive(running) else "interrupted"
        if state == "interrupted" and detail is None:
            detail = (
                "Not every recipient was tried: send the same request under the same key to resume."
            )
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
        """Return up to `limit` results in request order, skipping the first `after`, and the number to
        skip for the next page (None at the end). Raises NotFound.
        """
        self.job(stream, id_)
        intents = sorted(sender.claims.of_batch(id_).values(), key=_number)
        results = [
            _result(sender.claims.resolve(intent)) for intent in intents[after : after + limit]
        ]
        end = after + len(results)
        return results, end if end < len(intents) else None

    def close(self) -> None:
        """Stop all jobs, after the results of messages under way were recorded."""
        with self._lock:
            self._closed = True
            running = list(self._running.values())
        for job in running:
            job.stop.set()
        for job in running:
            if job.thread is not None:
                job.thread.join(CLOSE_SECONDS)

    def _run(self, mailing: Mailing, sender: Sender, running: _RunningJob) -> None:
        try:
            sender.send(mailing, stop=running.stop)
        except SesightError as error:
            running.detail = str(error)

    def _has_rest(self, batch: SendBatch) -> bool:
        """Return whether recipients are, or may be, left to try."""
        states = self._log.progress(batch.id).keys()
        return batch.finished_at is None or bool(states & (RETRYABLE | UNRESOLVED))

    def _counts(self, id_: str) -> dict[str, int]:
        progress = self._log.progress(id_)
        return {state.value: progress[state] for state in SendState if progress.get(state)}


def _number(intent: Intent) -> tuple[int, str]:
    return intent.number or sys.maxsize, intent.key


def _result(intent: Intent) -> JobResult:
    """Return a job's result. A recipient without an address is named by its number."""
    number = f"number {intent.number}" if intent.number is not None else intent.key
    result = result_of(intent.address or number, intent)
    return JobResult(**asdict(result), number=intent.number)


def _is_alive(running: _RunningJob | None) -> bool:
    return running is not None and running.thread is not None and running.thread.is_alive()
