"""SNS over HTTP: verify that a notification comes unaltered from a topic on the allow-list.

Fields and string to sign: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
The host of the certificate is derived from the allow-listed topic, so nothing in a message decides where
we fetch. Untrusted bytes are counted by reason and never stored.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from msgspec import Struct

from sesight.domain.errors import Untrusted
from sesight.domain.timestamps import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from sesight.ingest.transport.certificates import Certificates

MAX_BODY = 400_000
"""Bytes of a request: an SNS message is at most 262,144 bytes before JSON escapes it once more."""

STALE_MS = 3_600_000
"""A subscription confirmation older than this is refused: SNS retries for an hour at most."""

TEST_ACCOUNT = "000000000000"
"""An account that AWS never issues. Only its topics may have a pinned certificate."""

_SUFFIXES = {
    "aws": "amazonaws.com",
    "aws-us-gov": "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-eusc": "amazonaws.eu",
    "aws-iso": "c2s.ic.gov",
    "aws-iso-b": "sc2s.sgov.gov",
    "aws-iso-e": "cloud.adc-e.uk",
    "aws-iso-f": "csp.hci.ic.gov",
}
"""DNS suffixes by partition, from botocore's endpoints."""

_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}")
_CERTIFICATE_PATH = re.compile(r"/SimpleNotificationService-[0-9A-Za-z]{1,64}\.pem")
_TOPIC = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):sns:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):(?P<name>[A-Za-z0-9_.-]{1,256})"
)
_HASHES = {"1": SHA1(), "2": SHA256()}  # noqa: S303 - SNS signs version 1 with SHA-1
_PADDING = PKCS1v15()


class Topic(Struct, frozen=True):
    """A topic on the allow-list. `versions` are the signature versions that are accepted from it."""

    arn: str
    partition: str
    region: str
    account: str
    pinned: RSAPublicKey | None = None
    versions: frozenset[str] = frozenset({"1", "2"})

    @property
    def host(self) -> str:
        """Return the only host from which certificates and confirmations of the topic are accepted."""
        return f"sns.{self.region}.{_SUFFIXES[self.partition]}"


def parse_topic(
    arn: str, pinned: RSAPublicKey | None = None, versions: frozenset[str] | None = None
) -> Topic:
    """Return the topic of an ARN. Raises ValueError with a sentence for the operator."""
    parts = _TOPIC.fullmatch(arn)
    if (
        parts is None
        or parts["partition"] not in _SUFFIXES
        or not _REGION.fullmatch(parts["region"])
    ):
        message = f"{arn!r} is not the ARN of an SNS topic (arn:aws:sns:REGION:ACCOUNT:NAME)."
        raise ValueError(message)
    if pinned is not None and parts["account"] != TEST_ACCOUNT:
        message = (
            f"A pinned certificate is accepted only for topics of account {TEST_ACCOUNT}, "
            f"not for {arn}: remove certificate_file."
        )
        raise ValueError(message)
    return Topic(
        arn,
        parts["partition"],
        parts["region"],
        parts["account"],
        pinned,
        versions or frozenset({"1", "2"}),
    )


class Notification(Struct):
    """The fields of an SNS HTTP body."""

    type: Any = msgspec.field(default=None, name="Type")
    message_id: Any = msgspec.field(default=None, name="MessageId")
    topic_arn: Any = msgspec.field(default=None, name="TopicArn")
    subject: Any = msgspec.field(default=None, name="Subject")
    message: Any = msgspec.field(default=None, name="Message")
    timestamp: Any = msgspec.field(default=None, name="Timestamp")
    version: Any = msgspec.field(default=None, name="SignatureVersion")
    signature: Any = msgspec.field(default=None, name="Signature")
    certificate_url: Any = msgspec.field(default=None, name="SigningCertURL")
    subscribe_url: Any = msgspec.field(default=None, name="SubscribeURL")
    token: Any = msgspec.field(default=None, name="Token")


_decode = msgspec.json.Decoder(Notification).decode


def _signed(*names: str) -> tuple[tuple[str, ...], Callable[[Notification], tuple[Any, ...]]]:
    """Return the names of signed fields in the order of signing, with a getter of their values."""
    attributes = {field.encode_name: field.name for field in msgspec.structs.fields(Notification)}
    return names, attrgetter(*[attributes[name] for name in names])


_CONFIRMATION = _signed(
    "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"
)
_SIGNED = {
    "Notification": _signed("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}


def parse(body: bytes, headers: Mapping[str, str]) -> Notification:
    """Parse an SNS body and compare it with its headers. Raises Untrusted (400, 413)."""
    if len(body) > MAX_BODY:
        raise Untrusted("too-large", f"More than {MAX_BODY} bytes.", 413)
    if headers.get("x-amz-sns-rawdelivery", "").lower() == "true":
        raise Untrusted(
            "raw-delivery",
            "Raw message delivery carries no signature: turn it off for this subscription.",
            400,
        )
    try:
        notification = _decode(body[3:] if body.startswith(b"\xef\xbb\xbf") else body)
    except msgspec.ValidationError:
        raise Untrusted("malformed", "The body is not a JSON object.", 400) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise Untrusted("not-json", "The body is not JSON.", 400) from None
    needed = (
        notification.type,
        notification.message_id,
        notification.topic_arn,
        notification.message,
        notification.timestamp,
    )
    if not all(type(value) is str for value in needed):
        raise Untrusted("malformed", "A field of an SNS message is missing or not a string.", 400)
    if notification.subject is not None and type(notification.subject) is not str:
        raise Untrusted("malformed", "Subject is not a string.", 400)
    if notification.type not in _SIGNED:
        raise Untrusted("unknown-type", "SNS sends no messages of this type.", 400)
    for header, value in (
        ("x-amz-sns-message-type", notification.type),
        ("x-amz-sns-topic-arn", notification.topic_arn),
        ("x-amz-sns-message-id", notification.message_id),
    ):
        in_header = headers.get(header)
        if in_header is not None and in_header != value:
            raise Untrusted("header-mismatch", f"{header} differs from the body.", 400)
    return notification


def verify(
    notification: Notification, topics: Mapping[str, Topic], certificates: Certificates
) -> Topic:
    """Check that a notification comes unaltered from a topic on the allow-list; return the topic.

    Raises Untrusted with the reason, CertificateNeeded if its certificate must be fetched first. The
    allow-list is checked first: a valid signature only proves that some SNS topic sent the message.
    """
    topic = topics.get(notification.topic_arn)
    if topic is None:
        raise Untrusted("foreign-topic", "The topic is not on the allow-list.")
    version = notification.version
    if type(version) is not str or version not in _HASHES:
        raise Untrusted("signature-version", "SignatureVersion is neither 1 nor 2.")
    if version not in topic.versions:
        raise Untrusted("signature-version", f"The topic's version {version} is not accepted.")
    try:
        signature = a2b_base64(notification.signature, strict_mode=True)
        signed = string_to_sign(notification)
    except (TypeError, ValueError):
        raise Untrusted(
            "malformed", "The signature or a signed field is not a string.", 400
        ) from None
    key = topic.pinned or certificates.key(_certificate_url(notification.certificate_url, topic))
    try:
        key.verify(signature, signed, _PADDING, _HASHES[version])
    except InvalidSignature:
        raise Untrusted("signature", "The signature does not match.") from None
    return topic


def string_to_sign(notification: Notification) -> bytes:
    """Return what SNS signs: each field's name and value on a line of its own, sorted by name.

    Values are exactly as decoded. Subject is left out only if it is absent. Raises TypeError if a
    signed field is not a string.
    """
    names, values_of = _SIGNED[notification.type]
    lines: list[str] = []
    for name, value in zip(names, values_of(notification), strict=True):
        if value is not None or name != "Subject":
            lines += name, value
    lines.append("")
    return "\n".join(lines).encode()


def _certificate_url(url: object, topic: Topic) -> str:
    """Return the URL if it is one that SNS uses for this topic. The host must be equal: a pattern would
    also match `sns.s3.amazonaws.com`, which is a bucket that anyone may own.
    """
    if isinstance(url, str) and len(url) < 512:
        prefix = f"https://{topic.host}"
        if url.startswith(prefix) and _CERTIFICATE_PATH.fullmatch(url[len(prefix) :]):
            return url
    raise Untrusted(
        "certificate-url", "SigningCertURL is not the URL that SNS uses for this topic."
    )


def confirmation_url(notification: Notification, topic: Topic, now: int) -> str:
    """Return the URL that confirms a subscription. Raises Untrusted unless it is exactly that."""
    at = parse_timestamp(notification.timestamp)
    if at is None or abs(now - at[0]) > STALE_MS:
        raise Untrusted("stale-confirmation", "The subscription confirmation is over an hour old.")
    try:
        url = urlsplit(notification.subscribe_url)
        query = parse_qs(url.query, strict_parsing=True, max_num_fields=8)
        genuine = (
            url.scheme == "https"
            and url.netloc == topic.host
            and url.path in ("", "/")
            and not url.fragment
            and query.get("Action") == ["ConfirmSubscription"]
            and query.get("TopicArn") == [topic.arn]
            and query.get("Token") == [notification.token]
        )
    except (ValueError, TypeError, AttributeError):
        genuine = False
    if not genuine:
        raise Untrusted("subscribe-url", "SubscribeURL does not confirm this topic.")
    return str(notification.subscribe_url)
