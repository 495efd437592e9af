"""The functions that send mail for other programs of the account."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from sesight.api.problem import invalid_body, problem_of
from sesight.api.send_answer import answer_to_send
from sesight.domain.errors import InvalidRequest, NotFound, SettingsError
from sesight.domain.sending import StatementMail, TemplateMail
from sesight.lambdas.invocation import Context, dynamo_store, seconds_left

if TYPE_CHECKING:
    from sesight.app import App
    from sesight.domain.sending import SendResult

_MailT = TypeVar("_MailT", TemplateMail, StatementMail)


class SendFunction:
    """Sends mail of one stream, with the answers of its route `POST …/send`."""

    def __init__(self, app: App, stream: str) -> None:
        """Create the stream's sender. A sender that cannot be created is reported by each invocation."""
        self._app = app
        self._store = dynamo_store(app)
        self._stream = stream
        with suppress(SettingsError):
            app.sending.sender(stream)

    def handle(self, event: dict[str, Any], context: Context) -> dict[str, Any]:
        """Send what the event asks for: the body of `POST …/send`, which may have an `idempotencyKey`.

        Returns what the route answers, with its `status`. A message that SES accepted and whose answer was
        lost is not sent again when the function is invoked again with the same key.
        """
        self._store.limit_time(seconds_left(context))
        try:
            status, answer, _ = answer_to_send(self._send(event))
        except Exception as error:  # noqa: BLE001 - as over HTTP: the problem is answered, its cause logged
            problem: dict[str, Any] = msgspec.to_builtins(
                problem_of(error, secrets.token_hex(8), f"function {self._stream}_send")
            )
            return problem
        return {**msgspec.to_builtins(answer), "status": status}

    def _send(self, event: Any) -> list[SendResult]:
        stream = self._app.counting.streams.get(self._stream)
        if stream is None:
            raise NotFound(f"The settings have no stream {self._stream!r}.")
        body = dict(event) if isinstance(event, dict) else event
        key = body.pop("idempotencyKey", None) if isinstance(event, dict) else None
        key = None if key is None else str(key)
        service = self._app.sending.service
        if stream.months:
            return service.send_statements(stream.id, _converted(body, StatementMail), key)
        return service.send_mail(stream.id, _converted(body, TemplateMail), key)


def _converted(body: Any, type_: type[_MailT]) -> _MailT:
    """Return a decoded JSON body as a struct. Raises InvalidRequest."""
    try:
        return msgspec.convert(body, type_, strict=False, str_keys=True)
    except msgspec.ValidationError as error:
        raise invalid_body(body, type_) or InvalidRequest(f"{error}.") from None
