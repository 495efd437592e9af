"""Settings that cannot be: what a person is told, and where it is."""

from pathlib import Path

import pytest

from sesight.domain.errors import SettingsError
from sesight.settings import Settings, environment_names, load

FILE = """\
[store]
url = "sqlite:///a.db"

[server]
port = 8025

[[topics]]
arn = "arn:aws:sns:eu-west-1:123456789012:one"

[[topics]]
arn = "arn:aws:sns:eu-west-1:123456789012:two"
signature_versions = ["2"]

[sending]
rendering = "local"
guard.floor = 500

[[sending.senders]]
stream = "outreach"
from_address = "news@example.com"
unsubscribe = "none"
"""


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*environment_names(), "SESIGHT_CONFIG"]:
        monkeypatch.delenv(name, raising=False)


def said(path: Path, **overrides: str) -> str:
    """Return what is said of a settings file."""
    with pytest.raises(SettingsError) as refused:
        load(str(path), overrides)
    return str(refused.value).replace(f"{path.parent}/", "")


def test_right(tmp_path: Path) -> None:
    """The file that the others here are mistakes in is right, also with a byte order mark."""
    plain, marked = tmp_path / "a.toml", tmp_path / "b.toml"
    plain.write_text(FILE)
    marked.write_text(FILE, encoding="utf-8-sig")
    assert isinstance(load(str(plain)), Settings)
    assert load(str(plain)) == load(str(marked))


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("url =", "ulr =", "line 2: there is no `ulr` in [store]. Did you mean `url`?"),
        (
            "url =",
            "filename =",
            (
                "line 2: there is no `filename` in [store]. There are `url`, `retention_days`, "
                "`busy_timeout_ms`."
            ),
        ),
        ("[store]", "[stor]", "line 1: there is no section [stor]. Did you mean `store`?"),
        ("[store]", "regoin = 1\n[store]", "line 1: there is no `regoin`. Did you mean `region`?"),
        (
            "port = 8025",
            "port = 80255",
            "line 5: `port` in [server] must be a whole number from 0 to 65,535, not `80255`.",
        ),
        (
            "port = 8025",
            'port = "http"',
            "line 5: `port` in [server] must be a whole number from 0 to 65,535, not `http`.",
        ),
        (
            'arn = "arn:aws:sns:eu-west-1:123456789012:two"\n',
            "",
            "line 10: `arn` is missing in [[topics]]: text.",
        ),
        (
            '["2"]',
            '["1", "3"]',
            "line 12: `signature_versions` in [[topics]] must be one of `1`, `2`, not `3`.",
        ),
        (
            '["2"]',
            "[]",
            "line 12: `signature_versions` in [[topics]] must be a list of at least 1.",
        ),
        (
            '"local"',
            '"Local"',
            (
                "line 15: `rendering` in [sending] must be one of `local`, `ses`, not `Local`. "
                "Did you mean `local`?"
            ),
        ),
        (
            "guard.floor = 500",
            "guard.floor = 0",
            "line 16: `floor` in [sending.guard] must be a whole number from 1 on, not `0`.",
        ),
        (
            '"none"',
            '"mone"',
            (
                "line 21: `unsubscribe` in [[sending.senders]] must be one of `header`, `none`, `notify`, "
                "not `mone`. Did you mean `none`?"
            ),
        ),
        (
            'unsubscribe = "none"',
            'unsubscribe_keys = { a = "secret" }',
            "line 21: `a` in [sending.senders.unsubscribe_keys] must be text of 64 hex digits.",
        ),
        (
            "[sending]\n",
            'counting.tags = ["a", "b", "c", "d"]\n[sending]\n',
            "line 14: there is no `counting` in [[topics]].",
        ),
        (
            "[store]\n",
            'counting.tags = ["a", "b", "c", "d"]\n[store]\n',
            "line 1: `tags` has more than three tags: choose three.",
        ),
        (
            "[store]\n",
            '[[streams]]\nid = "a b"\nlabel = "A"\nkind = "marketing"\nconfiguration_set = "c"\n[store]\n',
            "line 2: the stream id 'a b' may contain only letters, digits, - and _.",
        ),
        (
            "port = 8025",
            "port = eighty",
            "line 5, is not TOML. Write one `name = value` a line, text in quotes, and each name once.",
        ),
        (
            "port = 8025",
            "port = 1\nport = 2",
            "line 6, is not TOML. Write one `name = value` a line, text in quotes, and each name once.",
        ),
        ("8025", "8025 # caf\udce9", "line 5, is not UTF-8: save the file as UTF-8."),
    ],
)
def test_file(tmp_path: Path, before: str, after: str, sentence: str) -> None:
    """A mistake in the file is said with its line, what would do, and what was likely meant; no word
    is a library's, and no value of a key is shown.
    """
    path = tmp_path / "sesight.toml"
    assert before in FILE
    path.write_bytes(FILE.replace(before, after).encode("utf-8", "surrogateescape"))
    assert said(path).startswith(f"sesight.toml, {sentence}")


def test_utf_16(tmp_path: Path) -> None:
    """A file in another encoding is a sentence."""
    path = tmp_path / "sesight.toml"
    path.write_text(FILE, encoding="utf-16")
    assert said(path) == "sesight.toml, line 1, is not UTF-8: save the file as UTF-8."


def test_no_file(tmp_path: Path) -> None:
    """A file that was named and is not there, or is a folder, is said."""
    assert said(tmp_path / "none.toml") == "There is no settings file none.toml."
    assert said(tmp_path).endswith(" cannot be read: Is a directory.")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "SESIGHT_SERVER_PORT",
            "http",
            "SESIGHT_SERVER_PORT must be a whole number from 0 to 65,535, not `http`.",
        ),
        (
            "SESIGHT_SENDING_ACCOUNT_LIST",
            "yes",
            "SESIGHT_SENDING_ACCOUNT_LIST must be true or false, not `yes`.",
        ),
        (
            "SESIGHT_SENDING_RENDERING",
            "sses",
            "SESIGHT_SENDING_RENDERING must be one of `local`, `ses`, not `sses`. Did you mean `ses`?",
        ),
        (
            "SESIGHT_TOPICS",
            '[{"arm": "x"}]',
            "SESIGHT_TOPICS: there is no `arm` in [[topics]]. Did you mean `arn`?",
        ),
        ("SESIGHT_TOPICS", "{}", "SESIGHT_TOPICS must be a list."),
        ("SESIGHT_SENDING_SENDERS", '[{"secret', "SESIGHT_SENDING_SENDERS is not valid JSON."),
        (
            "SESIGHT_STORE_ULR",
            "x",
            "SESIGHT_STORE_ULR: there is no such setting; did you mean SESIGHT_STORE_URL?",
        ),
        (
            "SESIGHT_XYZZY",
            "x",
            "SESIGHT_XYZZY: there is no such setting; see docs/reference/settings.md.",
        ),
        (
            "SESIGHT_COUNTING_TAGS",
            '["a", "b", "c", "d"]',
            "SESIGHT_COUNTING_TAGS: `tags` has more",
        ),
    ],
)
def test_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    """A mistake in a variable is said by the variable's name, not by the file's."""
    path = tmp_path / "sesight.toml"
    path.write_text(FILE)
    monkeypatch.setenv(name, value)
    assert said(path).startswith(sentence)


def test_no_table(tmp_path: Path) -> None:
    """What stands where a table should be is told what belongs into it."""
    path = tmp_path / "sesight.toml"
    path.write_text("server = 1")
    assert said(path).startswith(
        "sesight.toml, line 1: `server` must be a table with `host`, `port`,"
    )


def test_option(tmp_path: Path) -> None:
    """What an option gives over a table that is none in the file names both."""
    path = tmp_path / "sesight.toml"
    path.write_text('store = "a.db"')
    assert said(path, **{"store.url": "sqlite:///b.db"}) == (
        "sesight.toml, line 1: `store` must be a table: [store]."
    )
