"""Sending as a service: requests, jobs and commands become mailings, which the stream's sender works through.

The API, the command line and the Lambda functions all send through this module.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from sesight.domain.errors import InvalidRequest, SendingStopped
from sesight.send import finance, outreach
from sesight.send.jobs import JOB, RECIPIENTS
from sesight.send.mailing import Mailing
from sesight.send.statements.files import StatementDefaults, from_objects
from sesight.send.tags import format_campaign_tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sesight.domain.sending import JobResult, SendJob, SendResult, StatementMail, TemplateMail
    from sesight.send.jobs import Jobs
    from sesight.send.mailing import Draft
    from sesight.send.message_defaults import MessageDefaults
    from sesight.send.outreach import KeyedHash, MessageTemplate
    from sesight.send.sender import OnResult, Sender
    from sesight.send.statements.files import RefusedStatement
    from sesight.send.statements.model import Statement
    from sesight.send.statements.renderer import StatementRenderer

REQUEST, COMMAND = "request", "command"
"""Kinds of batches, beside `JOB`."""

REQUEST_RECIPIENTS = 100
"""The largest number of recipients of one request."""

REQUEST_SECONDS = 20.0
"""How long a request may take. At a low sending rate, fewer recipients than the limit fit into it."""

KEY_LIMIT = 255
"""The largest number of characters of an idempotency key."""


class SendService:
    """Sends mail of all streams. Safe to use from any thread.

    Unless its docstring says otherwise, each method raises InvalidRequest, NotFound, Conflict,
    SendingStopped, SettingsError, StoreUnavailable or AccountUnknown when nothing was sent.
    """

    def __init__(
        self,
        *,
        sender: Callable[[str], Sender],
        message_defaults: Callable[[str], MessageDefaults],
        template: Callable[[str, str], MessageTemplate],
        renderer: Callable[[str], StatementRenderer],
        jobs: Jobs | None,
        blocked: Callable[[str, str], str | None],
        attempts: Callable[[str, str, str, str], int],
        keyed_hash: KeyedHash,
    ) -> None:
        """`sender` and `message_defaults` are looked up by stream, `template` by template name and
        stream, `renderer` by template name. `jobs` is None where no work continues after an answer
        (Lambda). `blocked` returns the reason why a stream must not send to an address. `attempts`
        counts earlier messages by stream, address, month and statement tag.
        """
        self._sender = sender
        self._message_defaults = message_defaults
        self._template = template
        self._renderer = renderer
        self._jobs = jobs
        self._blocked = blocked
        self._attempts = attempts
        self._keyed_hash = keyed_hash

    # Requests: answered when every recipient has a result

    def send_mail(
        self, stream: str, mail: TemplateMail, key: str | None, owner: str = ""
    ) -> list[SendResult]:
        """Send template mail to at most `REQUEST_RECIPIENTS`; return the results in request order.

        A repeated request with the same `owner` and `key` returns the first answer and sends only to
        recipients that were throttled.
        """
        sender = self._sender(stream)
        self._check_size(sender, len(mail.recipients))
        id_ = _id(sender, owner, stream, key)
        return sender.send(self.mailing(stream, mail, id_, REQUEST), seconds=REQUEST_SECONDS)

    def send_statements(
        self, stream: str, mail: StatementMail, key: str | None, owner: str = ""
    ) -> list[SendResult]:
        """Send at most `REQUEST_RECIPIENTS` statements; see `send_mail`."""
        sender = self._sender(stream)
        self._check_size(sender, len(mail.statements))
        id_ = _id(sender, owner, stream, key)
        mailing = self._requested_statements(stream, mail, id_, REQUEST)
        return sender.send(mailing, seconds=REQUEST_SECONDS)

    # Jobs: answered at once, worked through by this process

    def start_mail_job(self, stream: str, mail: TemplateMail, key: str, owner: str = "") -> SendJob:
        """Start, or resume, a job that sends template mail to at most `RECIPIENTS`."""
        _check_job_size(len(mail.recipients))
        sender = self._sender(stream)
        id_ = _id(sender, owner, stream, key)
        return self._running_jobs().start(self.mailing(stream, mail, id_, JOB), sender)

    def start_statement_job(
        self, stream: str, mail: StatementMail, key: str, owner: str = ""
    ) -> SendJob:
        """Start, or resume, a job that sends at most `RECIPIENTS` statements."""
        _check_job_size(len(mail.statements))
        sender = self._sender(stream)
        id_ = _id(sender, owner, stream, key)
        return self._running_jobs().start(
            self._requested_statements(stream, mail, id_, JOB), sender
        )

    def job(self, stream: str, id_: str) -> SendJob:
        """Return a job's state and progress. Raises NotFound."""
        return self._running_jobs().job(stream, id_)

    def job_results(
        self, stream: str, id_: str, limit: int, after: int
    ) -> tuple[list[JobResult], int | None]:
        """Return up to `limit` results of a job, skipping the first `after`, and the number to skip for
        the next page (None at the end). Raises NotFound.
        """
        return self._running_jobs().results(stream, id_, limit, after, self._sender(stream))

    # Commands: a repeated command resumes where the last one ended

    def mail_command(
        self, stream: str, mail: TemplateMail, key: str | None, *, retry_unknown: bool = False
    ) -> Mailing:
        """Return the mailing of a `send` command. Without a `key`, the campaign, template, step and
        variant identify it: the same command with a longer list sends to the new recipients only.
        """
        campaign = mail.campaign
        name = key or "\n".join(
            (campaign.id, mail.template, campaign.step or "", campaign.variant or "")
        )
        return self.mailing(
            stream,
            mail,
            batch_id(name, stream, COMMAND, COMMAND),
            COMMAND,
            fingerprint=_hash_of(mail.template, campaign.id, campaign.step, campaign.variant),
            resumed=True,
            retry_unknown=retry_unknown,
        )

    def statement_command(
        self,
        stream: str,
        statements: Sequence[Statement | RefusedStatement],
        month: str,
        template: str,
        campaign: str | None,
        key: str | None,
        *,
        retry_unknown: bool = False,
    ) -> Mailing:
        """Return the mailing of a command that sends statements. Without a `key`, the campaign, month
        and template identify it.
        """
        name = key or "\n".join((campaign or "", month, template))
        return self._statement_mailing(
            stream,
            statements,
            month,
            template,
            campaign,
            batch_id(name, stream, COMMAND, COMMAND),
            COMMAND,
            fingerprint=_hash_of(campaign or _campaign_of(month), month, template),
            resumed=True,
            retry_unknown=retry_unknown,
        )

    def send(self, mailing: Mailing, on_result: OnResult | None = None) -> list[SendResult]:
        """Work through a mailing until every recipient was tried; see `Sender.send`."""
        return self._sender(mailing.stream).send(mailing, on_result)

    def dry_run(self, mailing: Mailing, on_result: OnResult) -> tuple[list[SendResult], list[str]]:
        """Return the result each recipient would have now, and in sentences why not all messages would
        go out now. Nothing is sent or recorded.
        """
        return self._sender(mailing.stream).dry_run(mailing, self._blocked, on_result)

    # Mailings

    def mailing(
        self,
        stream: str,
        mail: TemplateMail,
        id_: str,
        kind: str,
        *,
        fingerprint: str | None = None,
        resumed: bool = False,
        retry_unknown: bool = False,
    ) -> Mailing:
        """Return the mailing of template mail. `fingerprint` is by default that of the whole request."""
        if not mail.recipients:
            raise InvalidRequest("The request has no recipients: name at least one.")
        drafts = outreach.drafts(
            mail.recipients,
            mail.campaign,
            self._template(mail.template, stream),
            self._message_defaults(stream),
            mail.context,
            self._keyed_hash,
        )
        return _mailing(
            id_,
            kind,
            stream,
            mail.campaign.id,
            fingerprint or self._fingerprint(mail),
            drafts,
            resumed=resumed,
            retry_unknown=retry_unknown,
        )

    def _requested_statements(
        self, stream: str, mail: StatementMail, id_: str, kind: str
    ) -> Mailing:
        defaults = StatementDefaults(month=mail.month, currency=mail.currency, locale=mail.locale)
        return self._statement_mailing(
            stream,
            from_objects(mail.statements, defaults),
            mail.month,
            mail.template,
            mail.campaign,
            id_,
            kind,
            fingerprint=self._fingerprint(mail),
        )

    def _statement_mailing(
        self,
        stream: str,
        statements: Sequence[Statement | RefusedStatement],
        month: str,
        template: str,
        campaign: str | None,
        id_: str,
        kind: str,
        *,
        fingerprint: str,
        resumed: bool = False,
        retry_unknown: bool = False,
    ) -> Mailing:
        if not statements:
            raise InvalidRequest("There is no statement to send.")
        campaign_id = campaign or _campaign_of(month)
        shared = finance.StatementBatch(
            campaign=campaign_id,
            name=campaign,
            month=month,
            template=self._template(template, stream),
            renderer=self._renderer(template),
            message_defaults=self._message_defaults(stream),
            attempts=lambda address, of, tag: self._attempts(stream, address, of, tag),
            keyed_hash=self._keyed_hash,
        )
        return _mailing(
            id_,
            kind,
            stream,
            campaign_id,
            fingerprint,
            finance.drafts(statements, shared),
            resumed=resumed,
            retry_unknown=retry_unknown,
        )

    def _fingerprint(self, mail: TemplateMail | StatementMail) -> str:
        """Return a request's fingerprint. The hash is keyed: a plain one would let a reader of the log
        confirm guesses of figures and contexts.
        """
        return self._keyed_hash(msgspec.json.encode(mail, order="deterministic"))

    def _running_jobs(self) -> Jobs:
        if self._jobs is None:
            raise SendingStopped(
                "This server does not work on after an answer, so it has no jobs: send requests of at most "
                f"{REQUEST_RECIPIENTS} recipients, or use `sesight send`."
            )
        return self._jobs

    def _check_size(self, sender: Sender, recipients: int) -> None:
        limit = min(REQUEST_RECIPIENTS, max(sender.capacity(REQUEST_SECONDS), 1))
        if recipients > limit:
            raise InvalidRequest(
                f"At the account's rate a request has at most {limit} recipients now, this one has "
                f"{recipients:,}: send a job (POST …/send/jobs), or use `sesight send`."
            )


def _check_job_size(recipients: int) -> None:
    if recipients > RECIPIENTS:
        raise InvalidRequest(
            f"A job has at most {RECIPIENTS:,} recipients: use several, or `sesight send`."
        )


def _campaign_of(month: str) -> str:
    return f"statements-{month}"


def _hash_of(*values: Any) -> str:
    return sha256(msgspec.json.encode(values)).hexdigest()


def _mailing(
    id_: str,
    kind: str,
    stream: str,
    campaign: str,
    fingerprint: str,
    drafts: list[Draft],
    *,
    resumed: bool,
    retry_unknown: bool,
) -> Mailing:
    return Mailing(
        id=id_,
        kind=kind,
        stream=stream,
        campaign=format_campaign_tag(campaign),
        fingerprint=fingerprint,
        drafts=drafts,
        resumed=resumed,
        retry_unknown=retry_unknown,
    )


def batch_id(owner: str, stream: str, key: str | None, kind: str = "key") -> str:
    """Return the id of a batch: always the same for the same key of one owner and stream, random without
    a key. Requests and jobs share keys; `kind` separates those of commands.

    Raises InvalidRequest for a key that is empty, too long, or not printable ASCII.
    """
    if key is None:
        return secrets.token_hex(16)
    if not 0 < len(key) <= KEY_LIMIT or not key.isascii() or not key.isprintable():
        raise InvalidRequest(f"An idempotency key is 1 to {KEY_LIMIT} printable ASCII characters.")
    return sha256(f"{kind}\0{owner}\0{stream}\0{key}".encode()).hexdigest()[:32]


def _id(sender: Sender, owner: str, stream: str, key: str | None) -> str:
    """Return the id of a request's or a job's batch. Earlier versions gave requests and jobs separate
    ids: where a batch with such an id exists under the key, its id is used.
    """
    id_ = batch_id(owner, stream, key)
    if key is None or sender.knows(id_):
        return id_
    earlier = [batch_id(owner, stream, key, kind) for kind in (REQUEST, JOB)]
    return next((earlier_id for earlier_id in earlier if sender.knows(earlier_id)), id_)
