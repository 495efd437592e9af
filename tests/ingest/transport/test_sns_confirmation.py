"""Topic subscriptions: a confirmation is followed only by its own topic, token, host and hour."""

from typing import Any

import pytest

from sesight.domain.errors import Untrusted
from sesight.ingest.transport.sns import confirmation_url
from tests.notification import AT_MS, HOST, TOPIC, confirmation, taken

OTHERS_TOPIC = "arn:aws:sns:eu-west-1:999999999999:mine"

SUBSCRIBE = f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token="
TOKEN = "2336412f37fb687f5d51e6e2425ab12"


def confirmed(now: int = AT_MS, **changes: Any) -> str:
    """Return the URL by which a confirmation, changed before it was signed, is confirmed."""
    found, ours = taken(confirmation(**changes))
    return confirmation_url(found, ours, now)


def test_confirmation() -> None:
    """A fresh confirmation of our topic is confirmed by the URL it names, with or without a path."""
    assert confirmed() == SUBSCRIBE + TOKEN
    bare = (SUBSCRIBE + TOKEN).replace("/?", "?")
    assert confirmed(SubscribeURL=bare) == bare


WRONG_URLS = {
    "another host": f"https://evil.example/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={TOKEN}",
    "a bucket": SUBSCRIBE.replace(HOST, "sns.s3.amazonaws.com") + TOKEN,
    "another region": SUBSCRIBE.replace("//sns.eu-west-1", "//sns.us-east-1") + TOKEN,
    "a user": SUBSCRIBE.replace("https://", "https://user@") + TOKEN,
    "our host as user": SUBSCRIBE.replace(HOST, f"{HOST}@evil.example") + TOKEN,
    "a port": SUBSCRIBE.replace(HOST, f"{HOST}:443") + TOKEN,
    "http": SUBSCRIBE.replace("https", "http") + TOKEN,
    "another path": SUBSCRIBE.replace("/?", "/x?") + TOKEN,
    "a fragment": f"{SUBSCRIBE}{TOKEN}#x",
    "another action": SUBSCRIBE.replace("ConfirmSubscription", "DeleteTopic") + TOKEN,
    "two actions": f"{SUBSCRIBE}{TOKEN}&Action=DeleteTopic",
    "no action": SUBSCRIBE.replace("Action=ConfirmSubscription&", "") + TOKEN,
    "another topic": SUBSCRIBE.replace(TOPIC, OTHERS_TOPIC) + TOKEN,
    "two topics": f"{SUBSCRIBE}{TOKEN}&TopicArn={OTHERS_TOPIC}",
    "another token": f"{SUBSCRIBE}x",
    "no token": SUBSCRIBE,
    "too many fields": f"{SUBSCRIBE}{TOKEN}" + "&a=1" * 20,
    "nothing": "",
    "a broken address": "https://[",
}


@pytest.mark.parametrize("name", list(WRONG_URLS))
def test_wrong_subscribe_urls(name: str) -> None:
    """Even a signed confirmation is confirmed only by its own topic, token and host."""
    with pytest.raises(Untrusted) as refused:
        confirmed(SubscribeURL=WRONG_URLS[name])
    assert (refused.value.reason, refused.value.status) == ("subscribe-url", 403)


@pytest.mark.parametrize(
    ("timestamp", "fresh"),
    [
        ("2026-11-24T11:00:00.000Z", True),
        ("2026-11-24T10:59:59.999Z", False),
        ("2026-11-24T13:00:00.000Z", True),
        ("2026-11-24T13:00:00.001Z", False),
        ("2026-11-14T07:00:00.000Z", False),
        ("yesterday", False),
    ],
)
def test_stale_confirmations(timestamp: str, fresh: bool) -> None:
    """A confirmation is good for an hour: only it, of all messages, can be too old."""
    if fresh:
        assert confirmed(Timestamp=timestamp) == SUBSCRIBE + TOKEN
    else:
        with pytest.raises(Untrusted) as refused:
            confirmed(Timestamp=timestamp)
        assert refused.value.reason == "stale-confirmation"
