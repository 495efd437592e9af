"""The sender: takes a mailing from its drafts to messages that SES accepted. Every caller sends through it.

`Sender._send_one` is the path of one message: resolve an earlier result, compose, wait for a permit,
claim (recorded, and the suppression list checked, in one transaction), call SES once, settle. A call
that SES throttled is made again from the wait on.
"""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from sesight.domain.backoff import backoff
from sesight.domain.errors import Conflict, SendingStopped, StoreUnavailable
from sesight.domain.sending import RETRYABLE, Intent, Pause, SendResult, SendState
from sesight.send.circuit_breaker import IN_A_ROW, OUTAGE, CircuitBreaker, Permit
from sesight.send.claims import result_of
from sesight.send.dry_run import dry_run, obstacles, paused_sentence
from sesight.send.mailing import check_remembered
from sesight.send.message import Unsendable
from sesight.send.run import Run
from sesight.send.ses import AccountUnknown

if TYPE_CHECKING:
    from sesight.domain.ports import Clock, SendLog
    from sesight.send.claims import Claims
    from sesight.send.mailing import Draft, Mailing
    from sesight.send.message import OutgoingMessage
    from sesight.send.rate_limiter import RateLimiter
    from sesight.send.send_quota import SendQuota
    from sesight.send.ses import Mailer, SendFailure

LEASE = 120_000
"""How long a batch is leased (ms), and so how long a crash keeps it from being resumed."""

LOOK = 2_000
"""How often a run checks whether it may go on (ms)."""

TRIES = 6
"""The largest number of calls for one recipient: the first, and those after SES throttled the one before
or could not be reached.
"""


class PriorSend(NamedTuple):
    """Whether a recipient had received the mailing's message before a run, and whether that was made of
    another template, other figures or another context.
    """

    had_before: bool = False
    has_changed: bool = False


OnResult = Callable[[int, SendResult, PriorSend], object]
"""Receives each recipient's place in the mailing and result, in no particular order."""


class NotNow(NamedTuple):
    """Why a message cannot be sent now: the code and the sentence of its result."""

    code: str
    sentence: str


_OUTAGE = NotNow(
    OUTAGE, "SES failed several calls in a row, so this one was not made: go on later."
)
_QUOTA = NotNow("quota", "The account's quota of 24 hours is used up: go on later.")
_RATE = NotNow("rate", "It could not go in the time there was: go on later.")


class Sender:
    """Sends mailings of one stream. Safe to use from any thread; close it when done."""

    def __init__(
        self,
        *,
        log: SendLog,
        claims: Claims,
        mailer: Mailer,
        quota: SendQuota,
        rate_limiter: RateLimiter,
        streams: Iterable[str],
        guard: Callable[[str], Pause | None],
        account_list: Callable[[str], str | None],
        clock: Clock,
        steady: Callable[[], float],
        workers: int,
        pause: float,
    ) -> None:
        """`streams` are all streams of the account; `guard` returns why a stream should pause;
        `account_list` the reason why SES's own list has an address (raises AccountUnknown); `steady` is
        a clock in seconds that never goes back; `pause` the seconds of the first wait after SES
        throttled or failed.
        """
        self._log = log
        self.claims = claims
        self._mailer = mailer
        self._quota = quota
        self._rate_limiter = rate_limiter
        self._streams = tuple(streams)
        self._guard = guard
        self._account_list = account_list
        self._clock = clock
        self._steady = steady
        self._workers = ThreadPoolExecutor(workers, "sender")
        # one draft more than there are workers waits, so that no worker is ever idle
        self._places = threading.BoundedSemaphore(workers + 1)
        self._pause = pause
        self._breaker = CircuitBreaker(pause, steady)

    def close(self) -> None:
        """Wait for messages under way."""
        self._workers.shutdown()

    def capacity(self, seconds: float) -> int:
        """Return how many messages fit into a time while SES does not throttle. Raises AccountUnknown."""
        return int(self._quota.rate() * seconds)

    def knows(self, id_: str) -> bool:
        """Return whether the log has a batch of this id."""
        return self._log.batch(id_) is not None

    def send(
        self,
        mailing: Mailing,
        on_result: OnResult | None = None,
        seconds: float | None = None,
        stop: threading.Event | None = None,
    ) -> list[SendResult]:
        """Work through a mailing; return the results in its order. After `seconds`, or once `stop` is
        set, nothing more is tried.

        A mailing that was finished before is answered from the log; only recipients that were not tried,
        or were throttled, are tried. Raises Conflict for another mailing under the same id and for one
        that is under way, SendingStopped for a paused stream, StoreUnavailable and AccountUnknown when
        nothing could be tried.
        """
        now = self._clock()
        own_batch = mailing.batch(now, secrets.token_hex(8), now + LEASE)
        recorded = self._log.batch(mailing.id)
        reopens = mailing.resumed
        if recorded is not None:
            mailing.check_same(recorded)
            if recorded.finished_at is not None and not reopens:
                results = self.claims.results(mailing)
                # an unknown recipient may have turned out since to have got nothing
                reopens = any(result.state in RETRYABLE for result in results)
                if not reopens:
                    return results
        self._check_may_send(mailing.stream)
        self._quota.account()  # while SES does not say what the account may do, nothing can be sent
        batch = self._log.reopen(own_batch) if reopens else self._log.begin(own_batch)
        if batch.holder != own_batch.holder:
            mailing.check_same(batch)
            if batch.finished_at is not None:
                return self.claims.results(mailing)
            raise Conflict(
                "This is being sent already: try again in a minute.",
                max(batch.leased_until - now, 0) // 1_000 + 1,
            )
        run = Run(
            mailing,
            batch,
            None if seconds is None else self._steady() + seconds,
            stop or threading.Event(),
            looked_at=now,
            held_at=now,
        )
        is_finished = False
        try:
            mailing.check_same(batch)
            check_remembered(batch, now)
            run.known = self.claims.of_batch(mailing.id)
            results = self._work(run, on_result)
            is_finished = not run.is_stopped and not any(
                result.state in RETRYABLE for result in results
            )
        finally:
            if not is_finished:
                self._release_lease(run)
        if run.store_error is not None and not any(result.message_id for result in results):
            raise run.store_error
        if is_finished:
            self._log.finish(batch.id, self._clock())
        return results

    def dry_run(
        self, mailing: Mailing, blocked: Callable[[str, str], str | None], on_result: OnResult
    ) -> tuple[list[SendResult], list[str]]:
        """Return the result each recipient would have now and, in sentences, why not all messages would
        go out now. Nothing is sent or recorded.
        """
        known = self.claims.of_batch(mailing.id)
        results = dry_run(mailing, self.claims, known, blocked)
        for place, (draft, result) in enumerate(zip(mailing.drafts, results, strict=True)):
            on_result(place, result, prior_send(known.get(draft.key), result, draft))
        pause = self._log.pauses().get(mailing.stream) or self._guard(mailing.stream)
        intended = sum(result.state is SendState.INTENDED for result in results)
        return results, obstacles(pause, self._quota, intended)

    # One message

    def _send_one(self, run: Run, place: int, draft: Draft) -> Intent:
        """Take one recipient from the draft to the result. Raises StoreUnavailable."""
        previous = run.known.get(draft.key)
        if previous is not None:
            previous = self.claims.resolve(previous)
            if not run.mailing.retries(previous.state):
                return previous
        # kept until SES is called again: its Send event may still tell what became of it
        unknown = previous if previous and previous.state is SendState.UNKNOWN else None
        if run.is_stopped:
            return unknown or run.not_tried(draft)

        intent = run.new_intent(place, draft, self._clock())
        try:
            message = draft.message(intent.send_id)
            intent = replace(intent, content=draft.content() if draft.content else None)
            reason = self._account_list(draft.address)
        except Unsendable as error:
            return self._settle(run, intent, SendState.INVALID, error.code, str(error))
        except AccountUnknown as error:
            return self._settle(run, intent, SendState.THROTTLED, "list-unknown", str(error))
        if reason is not None:
            return self._settle(run, intent, SendState.SUPPRESSED, reason, None)

        pauses = backoff(self._pause, 10 * self._pause, random.random)
        for pause in chain([0.0], islice(pauses, TRIES - 1)):
            run.stopping.wait(pause)
            permit = self._wait_for_permit(run)
            if permit is None:
                return unknown or run.not_tried(draft)
            if isinstance(permit, NotNow):
                return unknown or self._settle(run, intent, SendState.THROTTLED, *permit)
            with self._released_on_error(permit):
                if unknown is not None:
                    self.claims.give_up(unknown)
                    unknown = None
                claimed = self.claims.claim(intent)
                if claimed.state is not SendState.INTENDED or claimed.send_id != intent.send_id:
                    self._return_permit(permit)
                    return claimed
                answer = self._mailer.send(message)
            if isinstance(answer, str):
                self._breaker.accepted(permit)
                return self._settle_sent(run, claimed, draft, message, answer)
            intent = self._handle_failure(run, permit, claimed, answer)
            if not answer.again:
                break
        return intent

    def _wait_for_permit(self, run: Run) -> Permit | NotNow | None:
        """Wait until quota, circuit breaker and rate limiter allow one call; return None once the run is
        stopped.
        """
        if run.is_stopped:
            return None
        if self._quota.left() == 0:
            return _QUOTA
        permit = self._breaker.acquire(run.until, run.stopping)
        if permit is None and self._breaker.is_failing:
            run.stop(*_OUTAGE)
        if permit is not None:
            if self._rate_limiter.take(run.until, run.stopping):
                self._quota.use(1)
                return permit
            self._breaker.release(permit)
        return None if run.stopping.is_set() else _RATE

    def _return_permit(self, permit: Permit) -> None:
        self._rate_limiter.give_back()
        self._quota.use(-1)
        self._breaker.release(permit)

    @contextmanager
    def _released_on_error(self, permit: Permit) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._breaker.release(permit)
            raise

    def _handle_failure(
        self, run: Run, permit: Permit, intent: Intent, failure: SendFailure
    ) -> Intent:
        """Act on an error of SES's: slow down, pause streams or stop the run; settle the intent."""
        if failure.fault:
            if self._breaker.failed(permit, OUTAGE):
                run.stop(*_OUTAGE)
        elif failure.state is SendState.REFUSED:
            if self._breaker.failed(permit, failure.code):
                run.stop(
                    failure.code,
                    f"SES refused {IN_A_ROW} messages in a row, so this one was not tried: "
                    f"{failure.sentence}",
                )
        else:
            self._breaker.release(permit)
        if failure.code == "rate":
            self._rate_limiter.slow()
        if failure.stops is not None:
            run.stop(failure.code, failure.sentence)
            for stream in self._streams if failure.stops == "account" else (intent.stream,):
                self._log.pause(
                    Pause(stream=stream, at=self._clock(), by="ses", detail=failure.sentence)
                )
        return self._settle(run, intent, failure.state, failure.code, failure.sentence)

    def _settle(
        self, run: Run, intent: Intent, state: SendState, code: str, detail: str | None
    ) -> Intent:
        settled = replace(intent, state=state, code=code, detail=detail, settled_at=self._clock())
        run.track(self.claims.settle(settled))
        return settled

    def _settle_sent(
        self, run: Run, intent: Intent, draft: Draft, message: OutgoingMessage, message_id: str
    ) -> Intent:
        # no worker waits for this: if it cannot be recorded, the Send event tells that SES took it
        sent, recording = self.claims.settle_sent(intent, draft, message, message_id)
        run.track(recording)
        return sent

    # All messages of a run

    def _work(self, run: Run, on_result: OnResult | None) -> list[SendResult]:
        """Try every draft with several workers, and keep the lease meanwhile."""
        results: dict[int, SendResult] = {}
        futures: set[Future[None]] = set()

        def work(place: int, draft: Draft) -> None:
            try:
                results[place] = result = self._result(run, place, draft)
                if on_result is not None:
                    on_result(place, result, prior_send(run.known.get(draft.key), result, draft))
            except BaseException as error:
                run.bug = error
                run.stopping.set()
                raise
            finally:
                self._places.release()

        try:
            for place in run.places():
                while not self._places.acquire(timeout=LOOK / 1_000):
                    self._keep_up(run)
                self._keep_up(run)
                future = self._workers.submit(work, place, run.mailing.drafts[place])
                futures.add(future)
                future.add_done_callback(futures.discard)
            while wait(tuple(futures), LOOK / 1_000).not_done:
                self._keep_up(run)
        except BaseException:
            run.stopping.set()
            raise
        finally:
            wait(tuple(futures))
            wait(tuple(run.settling))
        if run.bug is not None:
            raise run.bug
        return [results[place] for place in range(len(run.mailing.drafts))]

    def _result(self, run: Run, place: int, draft: Draft) -> SendResult:
        try:
            return result_of(draft.recipient, self._send_one(run, place, draft))
        except StoreUnavailable as error:
            run.stop_without_store(error)
            return result_of(draft.recipient, run.not_tried(draft))

    def _keep_up(self, run: Run) -> None:
        """Every so often, check whether the stream may still send, and extend the lease."""
        now = self._clock()
        if now - run.looked_at >= LOOK:
            run.looked_at = now
            with suppress(StoreUnavailable):
                try:
                    self._check_may_send(run.mailing.stream)
                except SendingStopped as error:
                    run.stop("paused", str(error))
        if now - run.held_at >= LEASE // 4:
            run.held_at = now
            with suppress(StoreUnavailable):
                if not self._log.hold(run.batch.id, run.batch.holder, now + LEASE):
                    run.stop("taken-over", "Another process goes on with this.")

    def _release_lease(self, run: Run) -> None:
        """Let another run resume at once, not only when the lease expires."""
        with suppress(StoreUnavailable):
            self._log.hold(run.batch.id, run.batch.holder, self._clock())

    def _check_may_send(self, stream: str) -> None:
        """Raise SendingStopped if the stream is paused, or if its reputation pauses it now."""
        pause = self._log.pauses().get(stream)
        if pause is None:
            pause = self._guard(stream)
            if pause is not None:
                self._log.pause(pause)
        if pause is not None:
            raise SendingStopped(paused_sentence(pause))


def prior_send(intent: Intent | None, result: SendResult, draft: Draft) -> PriorSend:
    """Return what was recorded of a recipient before a run, compared with the draft now."""
    if intent is None or intent.send_id != result.send_id or result.state is not SendState.SENT:
        return PriorSend()
    has_changed = (
        intent.content is not None
        and draft.content is not None
        and intent.content != draft.content()
    )
    return PriorSend(had_before=True, has_changed=has_changed)
