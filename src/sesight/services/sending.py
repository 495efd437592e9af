"""The desk: takes what is asked to be sent, makes an order of it and has it sent."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from sesight.domain.errors import InvalidRequest, SendingStopped
from sesight.send import finance, outreach
from sesight.send.jobs import JOB, RECIPIENTS
from sesight.send.sender import Order
from sesight.send.statements.files import Defaults, from_objects
from sesight.send.tags import format_campaign_tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sesight.domain.sending import Job, JobResult, Result, StatementMail, TemplateMail
    from sesight.send.jobs import Jobs
    from sesight.send.message_defaults import Stationery
    from sesight.send.outreach import Template
    from sesight.send.sender import Draft, Sender
    from sesight.send.statements.files import Refused
    from sesight.send.statements.model import Statement
    from sesight.send.statements.pdf import Paper

AT_ONCE = 100
"""Recipients of one request at most."""

SECONDS = 20.0
"""How long a request may take, which fewer recipients may fill where the account's rate is low."""

KEY_LIMIT = 255
"""Characters of an idempotency key at most."""


class Desk:
    """Has mail of all streams sent. Safe to use from any thread."""

    def __init__(
        self,
        sender: Callable[[str], Sender],
        stationery: Callable[[str], Stationery],
        template: Callable[[str, str], Template],
        jobs: Jobs | None,
        paper: Callable[[str], Paper],
        attempts: Callable[[str, str, str, str], int],
        seal: Callable[[bytes], str],
    ) -> None:
        """Keep what gives a stream's sender and stationery, and a template (by name) that was checked
        for a stream. All raise SettingsError or NotFound for what is not there. `jobs` None: this
        process runs none. `paper` puts statements on paper as a template has it; `attempts` says of a
        stream, an address, a month and a statement's tag how many messages there were; `seal` is a
        hash under a key of ours.
        """
        self._jobs = jobs
        self._paper = paper
        self._attempts = attempts
        self._seal = seal
        self._sender = sender
        self._stationery = stationery
        self._template = template

    def mail(
        self, stream: str, asked: TemplateMail, key: str | None, owner: str = ""
    ) -> list[Result]:
        """Send a request of at most `AT_ONCE` recipients; return their results in its order.

        A request with a `key` that its `owner` used before gets the first answer, and is sent to those
        who were throttled then. Raises InvalidRequest, NotFound, Conflict, SendingStopped, SettingsError,
        StoreUnavailable, AccountUnknown.
        """
        sender = self._sender(stream)
        self._fits(sender, len(asked.recipients))
        order = self.order(stream, asked, _id(sender, owner, stream, key), "request")
        return sender.send(order, seconds=SECONDS)

    def statements(
        self, stream: str, asked: StatementMail, key: str | None, owner: str = ""
    ) -> list[Result]:
        """Send at most `AT_ONCE` statements; as `mail`."""
        sender = self._sender(stream)
        self._fits(sender, len(asked.statements))
        id_ = _id(sender, owner, stream, key)
        return sender.send(self.statement_order(stream, asked, id_, "request"), seconds=SECONDS)

    def statement_job(self, stream: str, asked: StatementMail, key: str, owner: str = "") -> Job:
        """Begin to send many statements, or go on with it; as `mail_job`."""
        _fits_job(len(asked.statements))
        sender = self._sender(stream)
        id_ = _id(sender, owner, stream, key)
        return self._running().start(self.statement_order(stream, asked, id_, JOB), sender)

    def statement_order(self, stream: str, asked: StatementMail, id_: str, kind: str) -> Order:
        """Return the order of a request's statements. Raises InvalidRequest, NotFound, SettingsError."""
        defaults = Defaults(month=asked.month, currency=asked.currency, locale=asked.locale)
        entries = from_objects(asked.statements, defaults).entries
        return self.order_of(
            stream,
            entries,
            asked.month,
            asked.template,
            asked.campaign,
            id_,
            kind,
            fingerprint=self._sealed(asked),
        )

    def order_of(
        self,
        stream: str,
        entries: Sequence[Statement | Refused],
        month: str,
        template: str,
        campaign: str | None,
        id_: str,
        kind: str,
        *,
        fingerprint: str | None = None,
        resumed: bool = False,
    ) -> Order:
        """Return the order of statements that were read; with no `fingerprint`, another file of the same
        campaign, month and template is the same order. Raises as `statement_order` does.
        """
        if not entries:
            raise InvalidRequest("There is no statement to send.")
        named = campaign or f"statements-{month}"
        ledger = finance.Ledger(
            campaign=named,
            name=campaign,
            month=month,
            template=self._template(template, stream),
            paper=self._paper(template),
            stationery=self._stationery(stream),
            attempts=lambda address, of, tag: self._attempts(stream, address, of, tag),
            seal=self._seal,
        )
        drafts = finance.drafts(entries, ledger)
        if fingerprint is None:
            fingerprint = _hashed((named, month, template))
        return _order(id_, kind, stream, named, fingerprint, drafts, resumed=resumed)

    def mail_job(self, stream: str, asked: TemplateMail, key: str, owner: str = "") -> Job:
        """Begin to send at most `RECIPIENTS`, or go on with it; return at once how far it is.

        Raises as `mail` does.
        """
        _fits_job(len(asked.recipients))
        sender = self._sender(stream)
        order = self.order(stream, asked, _id(sender, owner, stream, key), JOB)
        return self._running().start(order, sender)

    def job(self, stream: str, id_: str) -> Job:
        """Return how far a job is. Raises NotFound."""
        return self._running().job(stream, id_)

    def job_results(
        self, stream: str, id_: str, limit: int, after: int
    ) -> tuple[list[JobResult], int | None]:
        """Return results of a job after so many, and after how many to continue. Raises NotFound."""
        return self._running().results(stream, id_, limit, after, self._sender(stream))

    def order(
        self,
        stream: str,
        asked: TemplateMail,
        id_: str,
        kind: str,
        *,
        open_ended: bool = False,
        resumed: bool = False,
    ) -> Order:
        """Return the order of template mail. `open_ended`: another list of recipients, or another
        context, is the same order, of which those are sent who have got nothing yet.
        """
        if not asked.recipients:
            raise InvalidRequest("There is nobody to send to: name recipients.")
        template = self._template(asked.template, stream)
        drafts = outreach.drafts(
            asked.recipients,
            asked.campaign,
            template,
            self._stationery(stream),
            asked.context,
            self._seal,
        )
        of = asked.campaign
        fingerprint = (
            _hashed((asked.template, of.id, of.step, of.variant))
            if open_ended
            else self._sealed(asked)
        )
        return _order(id_, kind, stream, of.id, fingerprint, drafts, resumed=resumed)

    def _sealed(self, asked: TemplateMail | StatementMail) -> str:
        """Return a request's fingerprint: its figures and contexts are not kept, not even as a hash
        that guesses could be tried against.
        """
        return self._seal(msgspec.json.encode(asked, order="deterministic"))

    def _running(self) -> Jobs:
        if self._jobs is None:
            raise SendingStopped(
                "Nothing goes on here after an answer, so there are no jobs: send requests of at most "
                f"{AT_ONCE} recipients, or use `sesight send`."
            )
        return self._jobs

    def _fits(self, sender: Sender, recipients: int) -> None:
        room = min(AT_ONCE, max(sender.room(SECONDS), 1))
        if recipients > room:
            raise InvalidRequest(
                f"A request goes to at most {room} recipients at the account's rate now, this one has "
                f"{recipients:,}: send a job (POST …/send/jobs), or use `sesight send`."
            )


def _fits_job(recipients: int) -> None:
    if recipients > RECIPIENTS:
        raise InvalidRequest(
            f"A job goes to at most {RECIPIENTS:,} recipients: use several, or `sesight send`."
        )


def _hashed(said: tuple[Any, ...]) -> str:
    return sha256(msgspec.json.encode(said)).hexdigest()


def _order(
    id_: str,
    kind: str,
    stream: str,
    campaign: str,
    fingerprint: str,
    drafts: list[Draft],
    *,
    resumed: bool,
) -> Order:
    return Order(
        id=id_,
        kind=kind,
        stream=stream,
        campaign=format_campaign_tag(campaign),
        fingerprint=fingerprint,
        drafts=drafts,
        resumed=resumed,
    )


def identity(owner: str, stream: str, key: str | None, kind: str = "key") -> str:
    """Return the id of a batch: the same for the same key of one owner and stream, else a new one. A
    request and a job share their keys; `kind` keeps those of commands apart from them.

    Raises InvalidRequest for a key that is empty, too long, or not printable ASCII.
    """
    if key is None:
        return secrets.token_hex(16)
    if not 0 < len(key) <= KEY_LIMIT or not key.isascii() or not key.isprintable():
        raise InvalidRequest(f"An idempotency key is 1 to {KEY_LIMIT} printable ASCII characters.")
    return sha256(f"{kind}\0{owner}\0{stream}\0{key}".encode()).hexdigest()[:32]


def _id(sender: Sender, owner: str, stream: str, key: str | None) -> str:
    """Return the id of a request's or a job's batch: of one that was begun when these had ids of their
    own, where there is one under the key.
    """
    id_ = identity(owner, stream, key)
    if key is None or sender.knows(id_):
        return id_
    earlier = [identity(owner, stream, key, kind) for kind in ("request", JOB)]
    return next((one for one in earlier if sender.knows(one)), id_)
