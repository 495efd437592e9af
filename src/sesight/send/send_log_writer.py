"""Writes intents and results to the send log in groups: one transaction serves many workers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from msgspec import Struct

from sesight.domain.event import Accepted, Event, Identity, Report

if TYPE_CHECKING:
    from sesight.domain.ports import SendLog, SuppressionCheck
    from sesight.domain.sending import Intent

GROUP_SIZE = 256
"""The largest number of intents and results written at once."""

Accept = Callable[[Sequence[Event]], None]
"""Folds our own events into the records. They are durable when it returns."""


class SettledIntent(Struct, frozen=True):
    """The result of an intent, and the Accepted event if SES took the message."""

    intent: Intent
    accepted: Event | None = None


class SendLogWriter:
    """Writes in a thread of its own what workers hand over. Close it when done."""

    def __init__(self, log: SendLog, suppression_check: SuppressionCheck, accept: Accept) -> None:
        self._log = log
        self._suppression_check = suppression_check
        self._accept = accept
        self._queue: SimpleQueue[tuple[Intent | SettledIntent, Future[Intent]] | None] = (
            SimpleQueue()
        )
        self._thread = threading.Thread(target=self._work, name="send-log-writer", daemon=True)
        self._thread.start()

    def claim(self, intent: Intent) -> Intent:
        """Record an intent; return what is then recorded, durably. See `SendLog.claim`.

        Raises StoreUnavailable.
        """
        return self._enqueue(intent).result()

    def settle(self, settled: SettledIntent) -> Future[Intent]:
        """Have a result recorded, before any claim made after this call. The future raises
        StoreUnavailable if it could not be.
        """
        return self._enqueue(settled)

    def close(self) -> None:
        """Write what was handed over, and end."""
        self._queue.put(None)
        self._thread.join()

    def _enqueue(self, item: Intent | SettledIntent) -> Future[Intent]:
        future: Future[Intent] = Future()
        self._queue.put((item, future))
        return future

    def _work(self) -> None:
        is_open = True
        while is_open:
            claims: list[tuple[Intent, Future[Intent]]] = []
            results: list[tuple[SettledIntent, Future[Intent]]] = []
            entry = self._queue.get()
            while True:
                if entry is None:
                    is_open = False
                    break
                item, future = entry
                if isinstance(item, SettledIntent):
                    results.append((item, future))
                else:
                    claims.append((item, future))
                if len(claims) + len(results) >= GROUP_SIZE:
                    break
                try:
                    entry = self._queue.get_nowait()
                except Empty:
                    break
            self._write_results(results)
            self._write_claims(claims)

    def _write_results(self, results: list[tuple[SettledIntent, Future[Intent]]]) -> None:
        if not results:
            return
        accepted = [settled.accepted for settled, _ in results if settled.accepted is not None]
        try:
            # events first: if the log then fails, the record's `send_id` still settles the intent
            if accepted:
                self._accept(accepted)
            self._log.settle([settled.intent for settled, _ in results])
        except Exception as error:  # noqa: BLE001 - raised by the futures
            for _, future in results:
                future.set_exception(error)
            return
        for settled, future in results:
            future.set_result(settled.intent)

    def _write_claims(self, claims: list[tuple[Intent, Future[Intent]]]) -> None:
        if not claims:
            return
        try:
            recorded = self._log.claim([intent for intent, _ in claims], self._suppression_check)
        except Exception as error:  # noqa: BLE001 - raised by the futures
            for _, future in claims:
                future.set_exception(error)
            return
        for intent, (_, future) in zip(recorded, claims, strict=True):
            future.set_result(intent)


def accepted_event(
    intent: Intent,
    message_id: str,
    at: int,
    *,
    sender: str,
    subject: str | None,
    template: str | None,
    tags: tuple[tuple[str, str], ...],
    configuration_set: str,
    spelling: str | None,
) -> Event:
    """Return the Accepted event of a message. `at` is the time of SES's answer (ms)."""
    sent_at = _time_in(message_id, at)
    return Event(
        message_id,
        Identity(sent_at, sender, subject, template, intent.send_id, None, tags),
        (Report(intent.address, Accepted(sent_at), spelling),),
        configuration_set,
    )


def _time_in(message_id: str, at: int) -> int:
    """Return the send time in an SES message id, which its events have too, so that they join one
    record. It is not documented: 12 hex digits of ms after the region's 4. Without such a time near
    `at`, return `at`.
    """
    try:
        sent_at = int(message_id[4:16], 16)
    except ValueError:
        return at
    return sent_at if abs(sent_at - at) < 10 * 60_000 else at
