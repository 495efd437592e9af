"""The reasons for which intake refuses a request, and what the operator should do about each."""

from __future__ import annotations

PASSING = frozenset({"busy", "store", "incomplete", "certificate-queue"})
"""Reasons that pass by themselves: the sender retries."""

_PASSING = "The sender will retry."
_UNKNOWN = "See docs/ses-analytics-pipeline.md."
_NOT_SNS = "It did not come from SNS: there is nothing to do."
_REACH = "Check that this server can reach https://sns.REGION.amazonaws.com."

REFUSED = {
    "foreign-topic": "The topic is not in [[topics]]: add its ARN if the topic is yours.",
    "signature": "Bad signature: a forged message, or a proxy changed the body.",
    "signature-version": "Compare signature_versions with the topic's SignatureVersion.",
    "certificate-url": "The certificate is not from SNS: a forged message.",
    "certificate": "The certificate has expired or is too weak: check the clock.",
    "stale-confirmation": (
        "A subscription was confirmed too late: subscribe again, and check the clock."
    ),
    "subscribe-url": "The confirmation is not for this topic: a forged message.",
    "raw-delivery": (
        "Raw message delivery carries no signature: turn it off for the subscription."
    ),
    "header-mismatch": (
        "Headers and body disagree: a forged message, or a proxy changed the headers."
    ),
    "malformed": _NOT_SNS,
    "not-json": _NOT_SNS,
    "unknown-type": _NOT_SNS,
    "too-large": _NOT_SNS,
    "head-too-large": _NOT_SNS,
    "malformed-http": _NOT_SNS,
    "certificate-unavailable": f"A certificate cannot be fetched. {_REACH}",
    "confirmation-failed": f"A subscription could not be confirmed. {_REACH}",
    "quarantine-full": (
        "The quarantine has no room for more unreadable bodies: see `sesight quarantine list`."
    ),
    "internal": "A bug in Sesight: please report the traceback in the log.",
}
"""What to do about refusals that do not pass by themselves."""


def advice(reason: str) -> str:
    """Return what to do about refusals of a reason, in a sentence or two."""
    return REFUSED.get(reason, _PASSING if reason in PASSING else _UNKNOWN)
