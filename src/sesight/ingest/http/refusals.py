"""Why intake refuses a request, by reason, and what the operator should do about it."""

from __future__ import annotations

PASSING = frozenset({"busy", "store", "incomplete", "certificate-queue"})
"""Reasons of refusals that senders mend by trying again."""

_PASSES = "Who sent it tries again."
_UNKNOWN = "The documents say what to do, in docs/ses-analytics-pipeline.md."
_NOT_SNS = "It did not come from SNS: there is nothing to do."
_REACH = "See that this server reaches https://sns.REGION.amazonaws.com."

REFUSED = {
    "foreign-topic": "The topic is not in [[topics]]: add its ARN, if it is yours.",
    "signature": "The signature does not match: somebody tried, or a proxy alters bodies.",
    "signature-version": "Compare signature_versions with the topic's SignatureVersion.",
    "certificate-url": "The certificate is not SNS's: somebody tried.",
    "certificate": "The certificate is out of date or too weak: see that the clock is right.",
    "stale-confirmation": (
        "A subscription was confirmed too late: subscribe again, and see that the clock is right."
    ),
    "subscribe-url": "The confirmation is not of this topic: somebody tried.",
    "raw-delivery": (
        "Raw message delivery carries no signature: switch it off for the subscription."
    ),
    "header-mismatch": "Headers and body disagree: somebody tried, or a proxy rewrites headers.",
    "malformed": _NOT_SNS,
    "not-json": _NOT_SNS,
    "unknown-type": _NOT_SNS,
    "too-large": _NOT_SNS,
    "head-too-large": _NOT_SNS,
    "malformed-http": _NOT_SNS,
    "certificate-unavailable": f"A certificate cannot be fetched. {_REACH}",
    "confirmation-failed": f"A subscription could not be confirmed. {_REACH}",
    "quarantine-full": "No more is kept of what is not understood: see `sesight quarantine list`.",
    "internal": "It is a fault of Sesight's; the log has the traceback: please report it.",
}
"""What to do about refusals that do not pass by themselves, by reason."""


def advice(reason: str) -> str:
    """Return what to do about refusals of a reason, a sentence or two."""
    return REFUSED.get(reason, _PASSES if reason in PASSING else _UNKNOWN)
