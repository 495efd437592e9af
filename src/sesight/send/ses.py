"""SES v2, as the sender sees it: what every answer means, and what the account may do."""

from __future__ import annotations

from typing import Any, NamedTuple

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    MetadataRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSOError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError
from msgspec import Struct

from sesight.domain.errors import NO_CREDENTIALS, SendingStopped
from sesight.domain.sending import SendState
from sesight.send.message import OutgoingMessage, Unsendable, request


class SendFailure(NamedTuple):
    """What an error of SES's means. `again`: the same call may be made soon; `stops`: nothing more is
    sent, by the `stream` or by all streams (`account`); `fault`: SES or the way to it failed, as it may
    for the next message too.
    """

    state: SendState
    code: str
    sentence: str
    again: bool = False
    stops: str | None = None
    fault: bool = False


ERRORS = {
    "TooManyRequestsException": SendFailure(
        SendState.THROTTLED, "rate", "SES took no more messages a second than it did.", again=True
    ),
    "LimitExceededException": SendFailure(
        SendState.THROTTLED, "limit", "A limit of the SES account is reached."
    ),
    "AccountSuspendedException": SendFailure(
        SendState.THROTTLED,
        "account-suspended",
        "AWS has suspended sending for the account: see the AWS console.",
        stops="account",
    ),
    "SendingPausedException": SendFailure(
        SendState.THROTTLED,
        "sending-paused",
        "Sending is paused in SES, for the account or the configuration set.",
        stops="stream",
    ),
    "MessageRejected": SendFailure(
        SendState.REFUSED, "message-rejected", "SES rejected the message: is the sender verified?"
    ),
    "MailFromDomainNotVerifiedException": SendFailure(
        SendState.REFUSED, "mail-from", "The MAIL FROM domain is not verified with SES."
    ),
    "NotFoundException": SendFailure(
        SendState.REFUSED,
        "not-found",
        "SES does not know the configuration set, template or contact list.",
    ),
    "BadRequestException": SendFailure(
        SendState.REFUSED, "bad-request", "SES does not take the message such as it is."
    ),
    "AccessDeniedException": SendFailure(
        SendState.REFUSED, "access", "These AWS credentials may not send: allow ses:SendEmail."
    ),
}
"""What SES's errors mean, by code (API reference of SendEmail; facts on retries of its guide)."""

ALIASES = {
    "Throttling": "TooManyRequestsException",
    "ThrottlingException": "TooManyRequestsException",
    "TooManyRequests": "TooManyRequestsException",
    "ValidationException": "BadRequestException",
    "InvalidParameterValue": "BadRequestException",
    "AccessDenied": "AccessDeniedException",
    "UnrecognizedClientException": "AccessDeniedException",
    "InvalidClientTokenId": "AccessDeniedException",
    "SignatureDoesNotMatch": "AccessDeniedException",
    "ExpiredTokenException": "AccessDeniedException",
    "AccountSendingPausedException": "SendingPausedException",
    "ConfigurationSetSendingPausedException": "SendingPausedException",
    "ConfigurationSetDoesNotExist": "NotFoundException",
}
"""Other codes by which the same is said."""

QUOTA = SendFailure(
    SendState.THROTTLED, "quota", "The account's quota of 24 hours is used up: go on later."
)
UNREACHABLE = SendFailure(
    SendState.THROTTLED, "unreachable", "SES could not be reached.", again=True, fault=True
)
UNAVAILABLE = SendFailure(
    SendState.THROTTLED,
    "unavailable",
    "SES was unavailable and took nothing.",
    again=True,
    fault=True,
)
"""A 503: whoever answers it did not begin (docs/decisions/0027)."""
NO_ANSWER = SendFailure(
    SendState.UNKNOWN,
    "no-answer",
    "SES was called and did not answer: its Send event will tell.",
    fault=True,
)
FAULT = SendFailure(
    SendState.UNKNOWN,
    "ses-fault",
    "SES answered that it failed: a Send event will tell if it sent.",
    fault=True,
)
CREDENTIALS = SendFailure(SendState.REFUSED, "access", "There are no AWS credentials to send with.")
OTHER = SendFailure(SendState.REFUSED, "other", "SES refused the message.")


UNSIGNED = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    SSOError,
    TokenRetrievalError,
)
"""Errors of botocore's before it calls anybody: there is nothing to sign with."""

NO_CONNECTION = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)
"""Errors of botocore's before a byte of the request is sent."""


class SesAccount(Struct, frozen=True):
    """What SES says the account may do: messages a second, messages in 24 hours (None: no limit) and
    how many of those are used, whether it sends at all, and how AWS sees it.
    """

    rate: float
    quota: int | None
    used: int
    enabled: bool
    enforcement: str


class AccountUnknown(SendingStopped):
    """SES cannot be asked what the account may do: try again, or look at the credentials."""

    retry_after = 30


class Mailer:
    """Sends over a client of SES v2 that makes each call once. Safe to use from any thread."""

    def __init__(self, client: Any) -> None:
        """Keep the client (botocore's `sesv2`)."""
        self._client = client

    def send(self, message: OutgoingMessage) -> str | SendFailure:
        """Ask SES to send one message, once; return the message id, or what the error means.

        Never raises for what SES or the network does.
        """
        try:
            asked = request(message)
            answer = self._client.send_email(**asked)
        except Unsendable as error:
            return SendFailure(SendState.INVALID, error.code, str(error))
        except ParamValidationError:
            return ERRORS["BadRequestException"]
        except ClientError as error:
            return meaning_of(error.response)
        except UNSIGNED:
            return CREDENTIALS
        except NO_CONNECTION:
            return UNREACHABLE
        except (BotoCoreError, ResponseParserError):
            return NO_ANSWER
        found: str | None = answer.get("MessageId")
        return found or FAULT

    def account(self) -> SesAccount:
        """Ask SES what the account may do. Raises AccountUnknown."""
        try:
            told = self._client.get_account()
        except NO_CONNECTION:
            raise AccountUnknown(
                f"SES cannot be reached at {self._client.meta.endpoint_url}: nothing was sent."
            ) from None
        except NoCredentialsError:
            raise AccountUnknown(NO_CREDENTIALS) from None
        except (BotoCoreError, ClientError) as error:
            raise AccountUnknown(
                f"SES does not say what the account may send ({code_of(error)})."
            ) from None
        quota = told.get("SendQuota", {})
        most = quota.get("Max24HourSend", -1)
        return SesAccount(
            quota.get("MaxSendRate", 1.0),
            None if most < 0 else int(most),
            int(quota.get("SentLast24Hours", 0)),
            told.get("SendingEnabled", True),
            told.get("EnforcementStatus", "HEALTHY"),
        )


def code_of(error: Exception) -> str:
    """Return the word for an error of botocore's that repeats nothing of what was asked."""
    response = getattr(error, "response", None)
    found = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return found or type(error).__name__


def meaning_of(response: dict[str, Any]) -> SendFailure:
    """Return what an error's response means."""
    error = response.get("Error", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = error.get("Code", "")
    said = error.get("Message", "")
    known = ERRORS.get(ALIASES.get(code, code))
    if known is None:
        if status == 503:
            return UNAVAILABLE
        return FAULT if status >= 500 else OTHER
    if known.code == "rate" and "quota" in said.lower():
        return QUOTA
    return known
