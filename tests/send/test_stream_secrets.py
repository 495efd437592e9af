"""What a stream sends with, from the settings or a secret that is read anew now and then."""

import json

import pytest

from sesight.domain.errors import SettingsError
from sesight.send.stream_secrets import RETRY_MS, SesSecrets, StreamSecrets

KEY = "11" * 32


class Vault:
    """Secrets as AWS keeps them; one that is not there cannot be read."""

    def __init__(self, **texts: str) -> None:
        self.texts = texts
        self.now = 0
        self.asked: list[str] = []
        self.failed: list[str] = []
        self.secrets = StreamSecrets(
            {}, "ses/{stream}", self.read, lambda: self.now, 300, self.failed.append
        )

    def read(self, name: str) -> str:
        self.asked.append(name)
        try:
            return self.texts[name]
        except KeyError:
            raise SettingsError(f"The secret {name} cannot be read.") from None

    def get(self, seconds: int = 0) -> SesSecrets:
        self.now += seconds * 1_000
        return self.secrets.get_ses_secrets("outreach")


def text(**more: object) -> str:
    return json.dumps({"from_address": "news@example.org", **more})


def test_of_the_settings() -> None:
    """Without a secret a stream sends with what the settings say; one they do not name cannot send."""
    held = SesSecrets(stream="outreach", from_address="news@example.org")
    secrets = StreamSecrets({"outreach": held}, None, str, lambda: 0, 300, lambda _: None)
    assert secrets.get_ses_secrets("outreach") is held
    with pytest.raises(SettingsError, match="finance has no sender"):
        secrets.get_ses_secrets("finance")


def test_kept_for_a_while() -> None:
    """A secret is read once in its time to live, then again; of its keys the last is in use."""
    vault = Vault(**{"ses/outreach": text(unsubscribe_keys={"b": KEY, "a": KEY})})
    first = vault.get()
    assert (first.stream, list(first.unsubscribe_keys)) == ("outreach", ["b", "a"])
    vault.texts["ses/outreach"] = text(from_name="New")
    assert vault.get(299) is first
    assert vault.get(1).from_name == "New"
    assert vault.asked == ["ses/outreach"] * 2
    assert vault.failed == []


def test_a_failed_refresh() -> None:
    """A secret that cannot be read again, or is none any more, is used as it was, and somebody is told."""
    vault = Vault(**{"ses/outreach": text()})
    first = vault.get()
    for wrong in (
        None,
        "{",
        "[]",
        '{"from_address": 5}',
        text(sender="x"),
        text(unsubscribe_keys={"a": "b"}),
    ):
        if wrong is None:
            vault.texts.clear()
        else:
            vault.texts["ses/outreach"] = wrong
        assert vault.get(300) is first
    assert vault.failed == ["outreach"] * 6
    vault.texts["ses/outreach"] = text(from_name="Back")
    assert vault.get(299) is first
    assert vault.get(1).from_name == "Back"


def test_never_read() -> None:
    """A secret that was never read is said to be away, and not asked for with every question."""
    vault = Vault()
    for seconds in (0, 10, RETRY_MS // 1_000 - 11):
        with pytest.raises(SettingsError, match="ses/outreach cannot be read"):
            vault.get(seconds)
    assert len(vault.asked) == 1
    assert vault.failed == ["outreach"]
    vault.texts["ses/outreach"] = text()
    assert vault.get(1).from_address == "news@example.org"


def test_nothing_of_a_secret_is_told() -> None:
    """What is wrong with a secret is said without repeating it."""
    vault = Vault(
        **{"ses/outreach": text(unsubscribe_keys={"a": "s3cr3t"}, postal_address="Lane 5")}
    )
    with pytest.raises(SettingsError) as error:
        vault.get()
    assert "s3cr3t" not in str(error.value)
    assert "Lane" not in str(error.value)
