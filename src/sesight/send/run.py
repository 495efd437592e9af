"""A run: one working through a mailing, with its deadline, its lease and the reason why it stopped."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from concurrent.futures import Future

from msgspec import Struct, field

from sesight.domain.errors import StoreUnavailable
from sesight.domain.sending import Intent, SendBatch, SendState
from sesight.send.mailing import Draft, Mailing


class Run(Struct):
    """One working through a mailing by one process. `known` are the intents recorded before it;
    `until` is the deadline by the sender's steady clock, None for none; `stopping` is set when nothing
    more is to be tried. Times `looked_at` and `held_at` are epoch ms.
    """

    mailing: Mailing
    batch: SendBatch
    until: float | None
    stopping: threading.Event
    looked_at: int
    held_at: int
    known: Mapping[str, Intent] = {}
    reason: tuple[str, str] = ("stopped", "Sending was stopped before this recipient was tried.")
    """Why the run stopped: the code and the sentence of recipients that were not tried."""
    store_error: StoreUnavailable | None = None
    bug: BaseException | None = None
    """What a worker raised that is no answer to anything: whoever waits for the run raises it."""
    settling: set[Future[Intent]] = field(default_factory=set)
    """Results that are being recorded."""

    @property
    def is_stopped(self) -> bool:
        """Return whether nothing more is tried."""
        return self.stopping.is_set()

    def stop(self, code: str, sentence: str) -> None:
        """Try nothing more, for a reason that recipients not tried are reported with."""
        self.reason = (code, sentence)
        self.stopping.set()

    def stop_without_store(self, error: StoreUnavailable) -> None:
        """Try nothing more: what came of it could not be recorded."""
        self.store_error = error
        self.stop("store-away", "The store is away, so nothing more was tried.")

    def places(self) -> list[int]:
        """Return the places of the drafts in the order to try them. Recipients that were refused before
        come last: a run that ends after a few refusals must not end at the same ones again.
        """

        def was_refused(place: int) -> bool:
            intent = self.known.get(self.mailing.drafts[place].key)
            return intent is not None and intent.state is SendState.REFUSED

        return sorted(range(len(self.mailing.drafts)), key=was_refused)

    def new_intent(self, place: int, draft: Draft, at: int) -> Intent:
        """Return a fresh intent. Its send id was never used before: a process that lost its lease may
        still send under an earlier one.
        """
        return Intent(
            batch=self.batch.id,
            key=draft.key,
            send_id=secrets.token_hex(10),
            stream=self.mailing.stream,
            campaign=self.mailing.campaign,
            address=draft.address,
            at=at,
            number=place + 1,
        )

    def not_tried(self, draft: Draft) -> Intent:
        """Return the result of a recipient that was not tried. It is not recorded."""
        code, detail = self.reason
        return Intent(
            batch=self.batch.id,
            key=draft.key,
            send_id="",
            stream=self.mailing.stream,
            campaign=self.mailing.campaign,
            address=draft.address,
            at=self.batch.at,
            state=SendState.THROTTLED,
            code=code,
            detail=detail,
        )

    def track(self, recording: Future[Intent]) -> None:
        """Wait for a result to be recorded before the run ends; stop if it cannot be."""
        self.settling.add(recording)
        recording.add_done_callback(self._recorded)

    def _recorded(self, recording: Future[Intent]) -> None:
        self.settling.discard(recording)
        error = recording.exception()
        if isinstance(error, StoreUnavailable):
            self.stop_without_store(error)
