"""SES v2 for the sender: calls, what each answer means, and what the account may do."""

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
    """What an error of SES means. `again`: the same call may succeed soon; `stops`: nothing more is sent
    by the `stream`, or by all streams of the `account`; `fault`: SES or the network failed, and may for
    the next message too.
    """

    state: SendState
    code: str
    sentence: str
    again: bool = False
    stops: str | None = None
    fault: bool = False


ERRORS = {
    "TooManyRequestsException": SendFailure(
        SendState.THROTTLED, "rate", "SES throttled: too many messages a second.", again=True
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
        SendState.REFUSED, "bad-request", "SES does not take the message as it is."
    ),
    "AccessDeniedException": SendFailure(
        SendState.REFUSED, "access", "These AWS credentials may not send: allow ses:SendEmail."
    ),
}
"""What SES's errors mean, by code (API reference of SendEmail)."""

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
"""Other codes with the same meanings."""

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
"""A 503 means that SES did not begin to process the call (docs/decisions/0027)."""
NO_ANSWER = SendFailure(
    SendState.UNKNOWN,
    "no-answer",
    "SES was called and did not answer: its Send event will tell whether it sent the message.",
    fault=True,
)
FAULT = SendFailure(
    SendState.UNKNOWN,
    "ses-fault",
    "SES failed: a Send event will tell whether it sent the message.",
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
"""Errors that botocore raises before any call: there are no credentials to sign it with."""

NO_CONNECTION = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)
"""Errors that botocore raises before it sends a byte of the request."""


class SesAccount(Struct, frozen=True):
    """What SES says about the account (GetAccount). `rate` is messages a second; `quota` messages in 24
    hours (None: no limit), of which `used` are sent; `enforcement` is AWS's EnforcementStatus.
    """

    rate: float
    quota: int | None
    used: int
    enabled: bool
    enforcement: str


class AccountUnknown(SendingStopped):
    """SES does not say what the account may do: try again, or check the credentials."""

    retry_after = 30


class Mailer:
    """Calls SES v2. Safe to use from any thread."""

    def __init__(self, client: Any) -> None:
        """`client` is botocore's `sesv2`, without retries: a retry might send a message twice."""
        self._client = client

    def send(self, message: OutgoingMessage) -> str | SendFailure:
        """Call SendEmail once; return the message id, or what the error means. Never raises for an error
        of SES or of the network.
        """
        try:
            answer = self._client.send_email(**request(message))
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
        message_id: str | None = answer.get("MessageId")
        return message_id or FAULT

    def account(self) -> SesAccount:
        """Call GetAccount. Raises AccountUnknown."""
        try:
            answer = self._client.get_account()
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
        quota = answer.get("SendQuota", {})
        limit = quota.get("Max24HourSend", -1)  # -1: no limit
        return SesAccount(
            quota.get("MaxSendRate", 1.0),
            None if limit < 0 else int(limit),
            int(quota.get("SentLast24Hours", 0)),
            answer.get("SendingEnabled", True),
            answer.get("EnforcementStatus", "HEALTHY"),
        )


def code_of(error: Exception) -> str:
    """Return the code of a botocore error. Unlike its message, it repeats nothing of the request."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return code or type(error).__name__


def meaning_of(response: dict[str, Any]) -> SendFailure:
    """Return what an error response means."""
    error = response.get("Error", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = error.get("Code", "")
    failure = ERRORS.get(ALIASES.get(code, code))
    if failure is None:
        if status == 503:
            return UNAVAILABLE
        return FAULT if status >= 500 else OTHER
    # one code stands for both limits; only the message tells them apart
    if failure.code == "rate" and "quota" in error.get("Message", "").lower():
        return QUOTA
    return failure
