"""The sender: the one path from a draft to a message that SES took, for every caller.

A recipient's walk: compose, wait for leave, claim (recorded, and the suppression list asked, in one
transaction), call SES once, record what came of it. What SES throttled walks again from the wait.
"""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from sesight.domain.address import normalize_address as mailbox_of
from sesight.domain.errors import Conflict, SendingStopped, StoreUnavailable
from sesight.domain.sending import (
    INTENTS_KEPT,
    RESUMABLE,
    RETRYABLE,
    UNRESOLVED,
    Intent,
    Pause,
    SendBatch,
    SendResult,
    SendState,
)
from sesight.domain.template import RenderedTemplate
from sesight.domain.timestamps import DAY
from sesight.send.circuit_breaker import IN_A_ROW, OUTAGE, CircuitBreaker
from sesight.send.message import OutgoingMessage, Unsendable, request
from sesight.send.send_log_writer import SendLogWriter, SettledIntent, accepted_event
from sesight.send.ses import AccountUnknown
from sesight.send.tags import known_tags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sesight.domain.ports import Clock, SendLog
    from sesight.send.circuit_breaker import Permit
    from sesight.send.rate_limiter import RateLimiter
    from sesight.send.ses import Mailer, SendFailure

LEASE = 120_000
"""How long a batch is held (ms): as long as a crash keeps it from being resumed."""

LOOK = 2_000
"""How often a run looks whether it may go on (ms)."""

TRIES = 6
"""Calls for one recipient at most, each after SES throttled the one before or was not reached."""

PAGE = 1_000

NOT_ACCEPTED = "not-accepted"
"""The code of an intent of which no Send event came in the time set."""

Compose = Callable[[str], OutgoingMessage]
"""Makes the message that carries a send id. Raises Unsendable."""


class Draft(Struct, frozen=True, kw_only=True):
    """One recipient before anything is decided. `recipient` is as the caller wrote it, `key` tells it
    from the others of the batch, `fault` says why it can be sent nothing; `content` gives a mark of what
    its message is made of.
    """

    recipient: str
    key: str
    address: str = ""
    spelling: str | None = None
    compose: Compose | None = None
    fault: Unsendable | None = None
    content: Callable[[], str] | None = None


class Mailing(Struct, frozen=True, kw_only=True):
    """What is asked to be sent. See `domain.sending.Batch`; `resumed` tries all recipients again of
    which the batch says that nothing was sent, other orders those only who were not tried.
    `retry_unknown` tries those too of whom that is unknown, though they may get it twice.
    """

    id: str
    kind: str
    stream: str
    campaign: str
    fingerprint: str
    drafts: Sequence[Draft]
    resumed: bool = False
    retry_unknown: bool = False


class PriorSend(NamedTuple):
    """What a run found of a recipient: whether they had their message before it, and whether that was
    made of another template, other figures or another context.
    """

    had_before: bool = False
    has_changed: bool = False


OnResult = Callable[[int, SendResult, PriorSend], object]
"""Hears of each recipient's result, with its place in the order and what was before, in no order."""


class Run(Struct):
    """One working through an order."""

    mailing: Mailing
    batch: SendBatch
    known: Mapping[str, Intent]
    until: float | None
    stop: threading.Event
    why: tuple[str, str] = ("stopped", "Sending was stopped before this recipient was tried.")
    away: StoreUnavailable | None = None
    failed: BaseException | None = None
    looked_at: int = 0
    held_at: int = 0
    settling: set[Future[Intent]] = field(default_factory=set)


class Sender:
    """Sends orders of one stream. Safe to use from any thread; close it when done."""

    def __init__(
        self,
        *,
        log: SendLog,
        writer: SendLogWriter,
        mailer: Mailer,
        rate_limiter: RateLimiter,
        streams: Iterable[str],
        find: Callable[[Intent], str | None],
        newest_at: Callable[[], int | None],
        guard: Callable[[str], Pause | None],
        listed: Callable[[str], str | None] | None,
        clock: Clock,
        steady: Callable[[], float],
        workers: int,
        unknown_ms: int,
        pause: float,
    ) -> None:
        """Keep the adapters.

        `find` returns the message id of the record that carries an intent's send id; `newest_at` when
        the newest event came; `guard` why a stream should pause; `listed` the reason why SES's own
        list holds an address (raises AccountUnknown), None: it is not asked. `streams` are all there
        are; `steady` is a clock in seconds that never goes back; `pause` how many seconds are waited
        first after SES throttled or failed.
        """
        self._log = log
        self._writer = writer
        self._mailer = mailer
        self._rate_limiter = rate_limiter
        self._streams = tuple(streams)
        self._find = find
        self._newest_at = newest_at
        self._guard = guard
        self._listed = listed
        self._clock = clock
        self._steady = steady
        self._workers = ThreadPoolExecutor(workers, "sender")
        # one more than there are workers waits, so that none is ever idle
        self._places = threading.BoundedSemaphore(workers + 1)
        self._unknown_ms = unknown_ms
        self._pause = pause
        self._breaker = CircuitBreaker(pause, steady)

    def close(self) -> None:
        """Wait for what is under way."""
        self._workers.shutdown()

    def room(self, seconds: float) -> int:
        """Return how many messages the rate lets go in so many seconds while SES does not throttle.
        Raises AccountUnknown.
        """
        return int(self._rate_limiter.full * seconds)

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
        """Work through an order; return each recipient's result, in the order's order. After `seconds`,
        or once `stop` is set, nothing more is tried.

        An order worked through before is answered from the log; only who was not tried, or was
        throttled, is tried. Raises Conflict for another order under the same id and for one that is
        under way, SendingStopped for a stream that is paused, StoreUnavailable and AccountUnknown when
        nothing could be tried.
        """
        now = self._clock()
        asked = batch_of(mailing, now, secrets.token_hex(8), now + LEASE)
        known = self._log.batch(mailing.id)
        again = mailing.resumed
        if known is not None:
            check_same(known, mailing)
            if known.finished_at is not None and not again:
                results = self.answer(mailing)
                # of one that was unknown its events may have told since that it was not sent
                again = any(each.state in RETRYABLE for each in results)
                if not again:
                    return results
        self._may_send(mailing.stream)
        self._rate_limiter.account()  # while it is not known, nothing can be sent
        batch = self._log.reopen(asked) if again else self._log.begin(asked)
        if batch.holder != asked.holder:
            check_same(batch, mailing)
            if batch.finished_at is not None:
                return self.answer(mailing)
            raise Conflict(
                "This is being sent already: ask again in a minute.",
                max(batch.leased_until - now, 0) // 1_000 + 1,
            )
        run = Run(
            mailing,
            batch,
            {},
            None if seconds is None else self._steady() + seconds,
            stop or threading.Event(),
            looked_at=now,
            held_at=now,
        )
        done = False
        try:
            check_same(batch, mailing)
            _is_remembered(batch, now)
            run.known = self.intents(mailing.id)
            results = self._work(run, on_result)
            done = not run.stop.is_set() and not any(each.state in RETRYABLE for each in results)
        finally:
            if not done:
                self._let_go(run)
        if run.away is not None and not any(each.message_id for each in results):
            raise run.away
        if done:
            self._log.finish(batch.id, self._clock())
        return results

    def answer(self, mailing: Mailing) -> list[SendResult]:
        """Return what the log says of an order's recipients, asking the records of open ones."""
        known = self.intents(mailing.id)
        return [
            SendResult(
                recipient=draft.recipient,
                state=SendState.UNKNOWN,
                code="not-recorded",
                detail="The log no longer says what became of it.",
            )
            if (found := known.get(draft.key)) is None
            else result_of(draft.recipient, self.settled(found))
            for draft in mailing.drafts
        ]

    def settled(self, intent: Intent) -> Intent:
        """Return an intent with what its Send event tells, if it is open.

        It is sent if a record carries its send id. It is taken as not sent if none has come for long,
        though events sent later have.
        """
        if intent.state not in UNRESOLVED:
            return intent
        now = self._clock()
        found: Intent | None = self._told_of(intent)
        if found is None and min(now, self._newest_at() or 0) - intent.at >= self._unknown_ms:
            found = replace(
                intent,
                state=SendState.THROTTLED,
                settled_at=now,
                code=NOT_ACCEPTED,
                detail="No Send event came for it, though later ones did: it was not sent.",
            )
        if found is None:
            return replace(
                intent,
                state=SendState.UNKNOWN,
                code=intent.code or "no-answer",
                detail=intent.detail or "It is not known yet whether SES took it.",
            )
        self._log.settle([found])
        return found

    def _told_of(self, intent: Intent) -> Intent | None:
        """Return an open intent as sent, if a record carries its send id."""
        message_id = self._find(intent) if intent.state in UNRESOLVED else None
        if message_id is None:
            return None
        sent = replace(
            intent, state=SendState.SENT, message_id=message_id, settled_at=self._clock()
        )
        return replace(sent, code=None, detail=None)

    def dry_run(
        self, mailing: Mailing, blocked: Callable[[str, str], str | None], on_result: OnResult
    ) -> list[SendResult]:
        """Return what would become of each recipient now: intended, if it would be sent; nothing is
        sent or recorded. `blocked` says of a stream and an address why it must not be sent to.
        """
        known = self.intents(mailing.id)
        results = []
        for n, draft in enumerate(mailing.drafts):
            result = self._dry_run_result(mailing, draft, known.get(draft.key), blocked)
            on_result(n, result, past(known.get(draft.key), result, draft))
            results.append(result)
        return results

    def obstacles(self, stream: str, messages: int) -> list[str]:
        """Return why so many messages of a stream would not all go out now, in sentences."""
        found = []
        pause = self._log.pauses().get(stream) or self._guard(stream)
        if pause is not None:
            found.append(_paused(pause))
        try:
            account, left = self._rate_limiter.account(), self._rate_limiter.left()
        except AccountUnknown as error:
            return [*found, str(error)]
        if not account.enabled or account.enforcement == "SHUTDOWN":
            found.append(
                "SES says that sending is switched off for the account: see the AWS console."
            )
        if left is not None and left < messages:
            found.append(
                f"The account's quota of 24 hours has room for {left:,} messages, and {messages:,} would "
                "be sent."
            )
        return found

    def _dry_run_result(
        self,
        mailing: Mailing,
        draft: Draft,
        known: Intent | None,
        blocked: Callable[[str, str], str | None],
    ) -> SendResult:
        if known is not None and known.state not in RESUMABLE:
            known = self._told_of(known) or known
            if known.state not in UNRESOLVED or not mailing.retry_unknown:
                return result_of(draft.recipient, known)
        try:
            request(_composed(draft, "rehearsal"))
        except Unsendable as error:
            return SendResult(
                recipient=draft.recipient,
                state=SendState.INVALID,
                code=error.code,
                detail=str(error),
            )
        reason = blocked(mailing.stream, draft.address)
        if reason is None:
            return SendResult(recipient=draft.recipient, state=SendState.INTENDED)
        return SendResult(
            recipient=draft.recipient,
            state=SendState.SUPPRESSED,
            code=reason,
            detail=f"The address is suppressed: {reason}.",
        )

    # A run

    def _work(self, run: Run, on_result: OnResult | None) -> list[SendResult]:
        """Try every draft with several workers, and see now and then whether to go on."""
        results: list[SendResult] = [_WAITING] * len(run.mailing.drafts)
        futures: set[Future[None]] = set()

        def one(n: int, draft: Draft) -> None:
            try:
                results[n] = result = self._one(run, n, draft)
                if on_result is not None:
                    on_result(n, result, past(run.known.get(draft.key), result, draft))
            except BaseException as error:  # a mistake of ours: whoever waits must hear of it
                run.failed = error
                run.stop.set()
                raise
            finally:
                self._places.release()

        try:
            for n in _in_turn(run):
                draft = run.mailing.drafts[n]
                while not self._places.acquire(timeout=LOOK / 1_000):
                    self._keep(run)
                self._keep(run)
                future = self._workers.submit(one, n, draft)
                futures.add(future)
                future.add_done_callback(futures.discard)
            while wait(tuple(futures), LOOK / 1_000).not_done:
                self._keep(run)
        except BaseException:
            run.stop.set()
            raise
        finally:
            wait(tuple(futures))
            wait(tuple(run.settling))
        if run.failed is not None:
            raise run.failed
        return results

    def _keep(self, run: Run) -> None:
        """Prolong the lease and look whether the stream may send, when it is time for it."""
        now = self._clock()
        if now - run.looked_at >= LOOK:
            run.looked_at = now
            self._look(run)
        if now - run.held_at >= LEASE // 4:
            run.held_at = now
            self._hold(run)

    def _look(self, run: Run) -> None:
        with suppress(StoreUnavailable):
            try:
                self._may_send(run.mailing.stream)
            except SendingStopped as error:
                self._stop(run, "paused", str(error))

    def _hold(self, run: Run) -> None:
        until = self._clock() + LEASE
        with suppress(StoreUnavailable):
            if not self._log.hold(run.batch.id, run.batch.holder, until):
                self._stop(run, "taken-over", "Another process goes on with this.")

    def _let_go(self, run: Run) -> None:
        """Let another run go on at once, and not when the lease is over."""
        with suppress(StoreUnavailable):
            self._log.hold(run.batch.id, run.batch.holder, self._clock())

    def _may_send(self, stream: str) -> None:
        paused = self._log.pauses().get(stream)
        if paused is None:
            paused = self._guard(stream)
            if paused is not None:
                self._log.pause(paused)
        if paused is not None:
            raise SendingStopped(_paused(paused))

    def _stop(self, run: Run, code: str, sentence: str) -> None:
        run.why = (code, sentence)
        run.stop.set()

    def _one(self, run: Run, n: int, draft: Draft) -> SendResult:
        """Walk with one recipient from its draft to its result."""
        try:
            return result_of(draft.recipient, self._walk(run, n, draft))
        except StoreUnavailable as error:
            run.away = error
            self._stop(run, "store-away", "The store is away, so nothing more was tried.")
            return result_of(draft.recipient, _not_tried(run, draft))

    def _walk(self, run: Run, n: int, draft: Draft) -> Intent:
        known = run.known.get(draft.key)
        unknown: Intent | None = None
        if known is not None:
            known = self.settled(known)
            if known.state is SendState.UNKNOWN and run.mailing.retry_unknown:
                unknown = known
            elif known.state not in (RESUMABLE if run.mailing.resumed else RETRYABLE):
                return known
        if run.stop.is_set():
            return unknown or _not_tried(run, draft)
        # never one used before: who lost its lease may hold that, and send under it
        intent = Intent(
            batch=run.batch.id,
            key=draft.key,
            send_id=secrets.token_hex(10),
            stream=run.mailing.stream,
            campaign=run.mailing.campaign,
            address=draft.address,
            at=self._clock(),
            number=n + 1,
        )
        try:
            message = _composed(draft, intent.send_id)
            if draft.content is not None:
                intent = replace(intent, content=draft.content())
            on_list = self._listed(draft.address) if self._listed is not None else None
        except Unsendable as error:
            return self._record(run, intent, SendState.INVALID, error.code, str(error))
        except AccountUnknown as error:
            return self._record(run, intent, SendState.THROTTLED, "list-unknown", str(error))
        if on_list is not None:
            return self._record(run, intent, SendState.SUPPRESSED, on_list, None)
        for attempt in range(TRIES):
            intent, again = self._call(run, draft, intent, message, unknown)
            unknown = None
            if not again:
                return intent
            if attempt + 1 < TRIES:
                # full jitter: workers throttled together do not come back together
                run.stop.wait(random.uniform(0, self._pause * min(2**attempt, 10)))  # noqa: S311
        return intent

    def _give_up(self, intent: Intent) -> None:
        """Record that an open intent is tried again though nobody knows whether SES took it."""
        given_up = replace(
            intent,
            state=SendState.THROTTLED,
            settled_at=self._clock(),
            code="given-up",
            detail="It is not known whether SES took it; somebody had it tried again.",
        )
        self._log.settle([given_up])

    def _call(
        self,
        run: Run,
        draft: Draft,
        intent: Intent,
        message: OutgoingMessage,
        unknown: Intent | None,
    ) -> tuple[Intent, bool]:
        """Call SES once when it is time to; return what came of it, and whether to call again.

        An intent that is still `unknown` is given up just before the call: until then its Send event may
        tell what became of it.
        """
        if run.stop.is_set():
            return unknown or _not_tried(run, draft), False
        if self._rate_limiter.left() == 0:
            return unknown or self._record(run, intent, SendState.THROTTLED, "quota", _QUOTA), False
        ticket = self._breaker.enter(run.until, run.stop)
        if ticket is None and self._breaker.is_failing:
            self._stop(run, OUTAGE, _OUTAGE)
        if ticket is None or not self._rate_limiter.take(run.until, run.stop):
            if ticket is not None:
                self._breaker.leave(ticket)
            if run.stop.is_set():
                return unknown or _not_tried(run, draft), False
            return unknown or self._record(run, intent, SendState.THROTTLED, "rate", _RATE), False
        try:
            if unknown is not None:
                self._give_up(unknown)
            claimed = self._writer.claim(
                replace(intent, at=self._clock(), state=SendState.INTENDED, code=None, detail=None)
            )
            if claimed.state is not SendState.INTENDED or claimed.send_id != intent.send_id:
                self._rate_limiter.give_back()
                self._breaker.leave(ticket)
                return claimed, False
            answer = self._mailer.send(message)
        except BaseException:
            self._breaker.leave(ticket)
            raise
        if isinstance(answer, str):
            self._breaker.accepted(ticket)
            return self._sent(run, claimed, draft, message, answer), False
        self._weigh(run, ticket, answer)
        return self._refused(run, claimed, answer), answer.again

    def _weigh(self, run: Run, ticket: Permit, meaning: SendFailure) -> None:
        """Stop a run of which SES fails or refuses one message after the other."""
        if meaning.fault:
            if self._breaker.failed(ticket, OUTAGE):
                self._stop(run, OUTAGE, _OUTAGE)
        elif meaning.state is SendState.REFUSED:
            if self._breaker.failed(ticket, meaning.code):
                self._stop(
                    run,
                    meaning.code,
                    f"SES refused {IN_A_ROW} messages in a row, so this one was not tried: "
                    f"{meaning.sentence}",
                )
        else:
            self._breaker.leave(ticket)

    def _sent(
        self, run: Run, intent: Intent, draft: Draft, message: OutgoingMessage, message_id: str
    ) -> Intent:
        now = self._clock()
        sent = replace(intent, state=SendState.SENT, message_id=message_id, settled_at=now)
        content = message.content
        event = accepted_event(
            intent,
            message_id,
            now,
            sender=mailbox_of(message.sender)[0],
            subject=content.subject if isinstance(content, RenderedTemplate) else None,
            template=message.template,
            tags=known_tags(message.tags, message.campaign_name),
            configuration_set=message.configuration_set,
            spelling=draft.spelling,
        )
        # nobody waits for this: SES has it, and what could not be recorded its Send event tells
        self._settle(run, SettledIntent(sent, event))
        return sent

    def _settle(self, run: Run, settled: SettledIntent) -> None:
        future = self._writer.settle(settled)
        run.settling.add(future)
        future.add_done_callback(lambda done: self._settled_in(run, done))

    def _settled_in(self, run: Run, done: Future[Intent]) -> None:
        run.settling.discard(done)
        error = done.exception()
        if isinstance(error, StoreUnavailable):
            run.away = error
            self._stop(run, "store-away", "The store is away, so nothing more was tried.")

    def _refused(self, run: Run, intent: Intent, meaning: SendFailure) -> Intent:
        if meaning.code == "rate":
            self._rate_limiter.slow()
        if meaning.stops is not None:
            self._stop(run, meaning.code, meaning.sentence)
            stopped = self._streams if meaning.stops == "account" else (intent.stream,)
            for stream in stopped:
                self._log.pause(
                    Pause(stream=stream, at=self._clock(), by="ses", detail=meaning.sentence)
                )
        return self._record(run, intent, meaning.state, meaning.code, meaning.sentence)

    def _record(
        self, run: Run, intent: Intent, state: SendState, code: str, detail: str | None
    ) -> Intent:
        found = replace(intent, state=state, code=code, detail=detail, settled_at=self._clock())
        self._settle(run, SettledIntent(found))
        return found

    def intents(self, batch: str) -> dict[str, Intent]:
        """Return all intents of a batch, by their keys."""
        found: dict[str, Intent] = {}
        after = None
        while True:
            page = self._log.intents(batch, PAGE, after)
            found.update((each.key, each) for each in page)
            if len(page) < PAGE:
                return found
            after = page[-1].key


def check_same(batch: SendBatch, mailing: Mailing) -> None:
    """Raise Conflict if a batch is not of this order, though it has its id."""
    if batch.kind != mailing.kind:
        raise Conflict(f"This key was used for a {batch.kind} before: take another key.")
    if batch.fingerprint != mailing.fingerprint:
        raise Conflict("Something else was sent under this key before: take another key for it.")


def _is_remembered(batch: SendBatch, now: int) -> None:
    """Raise Conflict if it may have been forgotten who got a batch's first messages."""
    if now - batch.at >= INTENTS_KEPT * DAY:
        raise Conflict(
            f"This was begun more than {INTENTS_KEPT} days ago, so it is not known any more who has it: "
            "take another key (--key, or another --step) for those who shall get it."
        )


def batch_of(mailing: Mailing, at: int, holder: str, leased_until: int) -> SendBatch:
    """Return the batch of an order that is begun now."""
    return SendBatch(
        id=mailing.id,
        kind=mailing.kind,
        stream=mailing.stream,
        campaign=mailing.campaign,
        fingerprint=mailing.fingerprint,
        at=at,
        holder=holder,
        leased_until=leased_until,
        total=len(mailing.drafts),
    )


def _in_turn(run: Run) -> list[int]:
    """Return the places of a run's drafts. Who was refused before comes last, so that a run that ends
    after a few refusals does not end at the same ones again.
    """

    def was_refused(place: int) -> bool:
        known = run.known.get(run.mailing.drafts[place].key)
        return known is not None and known.state is SendState.REFUSED

    return sorted(range(len(run.mailing.drafts)), key=was_refused)


def result_of(recipient: str, intent: Intent) -> SendResult:
    """Return what an intent tells the caller."""
    detail = intent.detail
    if intent.state is SendState.SUPPRESSED:
        detail = f"The address is suppressed: {intent.code}."
    return SendResult(
        recipient=recipient,
        state=SendState.UNKNOWN if intent.state is SendState.INTENDED else intent.state,
        code=intent.code,
        detail=detail,
        message_id=intent.message_id,
        send_id=intent.send_id or None,
    )


def past(known: Intent | None, result: SendResult, draft: Draft) -> PriorSend:
    """Return what was recorded of a recipient before this run, beside what is so now."""
    if known is None or known.send_id != result.send_id or result.state is not SendState.SENT:
        return PriorSend()
    comparable = known.content is not None and draft.content is not None
    return PriorSend(
        had_before=True,
        has_changed=comparable and draft.content is not None and known.content != draft.content(),
    )


def _paused(pause: Pause) -> str:
    return (
        f"The stream {pause.stream} is paused: {pause.detail} "
        f"`sesight stream resume {pause.stream}` lets it send again."
    )


_OUTAGE = "SES failed several calls in a row, so this one was not made: go on later."
_WAITING = SendResult(recipient="", state=SendState.INTENDED)
_QUOTA = "The account's quota of 24 hours is used up: go on later."
_RATE = "It could not go in the time there was: go on later."


def _composed(draft: Draft, send_id: str) -> OutgoingMessage:
    if draft.fault is not None:
        raise draft.fault
    if draft.compose is None:
        raise Unsendable("empty", "There is nothing to send.")
    return draft.compose(send_id)


def _not_tried(run: Run, draft: Draft) -> Intent:
    code, detail = run.why
    return Intent(
        batch=run.batch.id,
        key=draft.key,
        send_id="",
        stream=run.mailing.stream,
        campaign=run.mailing.campaign,
        address=draft.address,
        at=run.batch.at,
        state=SendState.THROTTLED,
        code=code,
        detail=detail,
    )
