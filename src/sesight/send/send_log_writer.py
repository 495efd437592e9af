"""The outbox: many workers' intents and results, written together and durable before they go on."""

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

TOGETHER = 256
"""Intents and results written at once at most."""

Accept = Callable[[Sequence[Event]], None]
"""Folds events of our own into the records: durable when it returns."""


class SettledIntent(Struct, frozen=True):
    """What became of an intent, and the Accepted event where SES took the message."""

    intent: Intent
    accepted: Event | None = None


class SendLogWriter:
    """Writes what workers hand it in groups, from one thread of its own. Close it when done."""

    def __init__(self, log: SendLog, blocks: SuppressionCheck, accept: Accept) -> None:
        """Keep the log, who must not be sent to, and what folds Accepted events."""
        self._log = log
        self._blocks = blocks
        self._accept = accept
        self._waiting: SimpleQueue[tuple[Intent | SettledIntent, Future[Intent]] | None] = (
            SimpleQueue()
        )
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self._thread.start()

    def claim(self, intent: Intent) -> Intent:
        """Record an intent; return what is recorded. See `SendLog.claim`. Raises StoreUnavailable."""
        return self._hand(intent).result()

    def settle(self, settled: SettledIntent) -> Future[Intent]:
        """Have it recorded what became of an intent, before any claim made after this. The future
        raises StoreUnavailable where it could not be.
        """
        return self._hand(settled)

    def close(self) -> None:
        """Write what was handed over and end."""
        self._waiting.put(None)
        self._thread.join()

    def _hand(self, item: Intent | SettledIntent) -> Future[Intent]:
        future: Future[Intent] = Future()
        self._waiting.put((item, future))
        return future

    def _work(self) -> None:
        going = True
        while going:
            claims: list[tuple[Intent, Future[Intent]]] = []
            results: list[tuple[SettledIntent, Future[Intent]]] = []
            handed = self._waiting.get()
            while True:
                if handed is None:
                    going = False
                    break
                item, future = handed
                if isinstance(item, SettledIntent):
                    results.append((item, future))
                else:
                    claims.append((item, future))
                if len(claims) + len(results) >= TOGETHER:
                    break
                try:
                    handed = self._waiting.get_nowait()
                except Empty:
                    break
            self._write_results(results)
            self._write_claims(claims)

    def _write_results(self, results: list[tuple[SettledIntent, Future[Intent]]]) -> None:
        if not results:
            return
        accepted = [item.accepted for item, _ in results if item.accepted is not None]
        try:
            # first: an intent that stays open is settled by the record's `send_id`
            if accepted:
                self._accept(accepted)
            self._log.settle([item.intent for item, _ in results])
        except Exception as error:  # noqa: BLE001 - handed to those who wait for it
            for _, future in results:
                future.set_exception(error)
            return
        for item, future in results:
            future.set_result(item.intent)

    def _write_claims(self, claims: list[tuple[Intent, Future[Intent]]]) -> None:
        if not claims:
            return
        try:
            recorded = self._log.claim([intent for intent, _ in claims], self._blocks)
        except Exception as error:  # noqa: BLE001 - handed to those who wait for it
            for _, future in claims:
                future.set_exception(error)
            return
        for found, (_, future) in zip(recorded, claims, strict=True):
            future.set_result(found)


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
    """Return the Accepted event of a message. `at` is when SES answered (ms)."""
    sent_at = _time_in(message_id, at)
    return Event(
        message_id,
        Identity(sent_at, sender, subject, template, intent.send_id, None, tags),
        (Report(intent.address, Accepted(sent_at), spelling),),
        configuration_set,
    )


def _time_in(message_id: str, at: int) -> int:
    """Return the time in an SES message id (12 hex digits of ms after 4 of the region), which is
    that of its events; `at` where there is none near it.
    """
    try:
        found = int(message_id[4:16], 16)
    except ValueError:
        return at
    return found if abs(found - at) < 10 * 60_000 else at
