"""Addresses to send to: as SES takes them, known by what its events will say."""

from email import message_from_string, policy
from email.header import decode_header, make_header
from email.utils import parseaddr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesight.domain.address import normalize_address
from sesight.send.addresses import Address, header_address, header_value, parse_address
from sesight.send.message import Unsendable

LONG = "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jo@example.com", Address("jo@example.com")),
        (" jo@example.com\t", Address("jo@example.com")),
        ("\ufeffjo@example.com", Address("jo@example.com")),
        ("Jo.Doe+x@Example.COM", Address("jo.doe+x@example.com", None, "Jo.Doe+x@example.com")),
        ("jo@Bücher.example", Address("jo@xn--bcher-kva.example")),
        ("jo@straße.de", Address("jo@xn--strae-oqa.de")),
        ("jo@例え。jp", Address("jo@xn--r8jz45g.jp")),
        ("<jo@example.com>", Address("jo@example.com")),
        ("Jo <jo@example.com>", Address("jo@example.com", "Jo")),
        ("J. Doe <jo@example.com>", Address("jo@example.com", "J. Doe")),
        ("Doe, Jo <jo@example.com>", Address("jo@example.com", "Doe, Jo")),
        (r'"Jo \"J\" Doe" <jo@example.com>', Address("jo@example.com", 'Jo "J" Doe')),
        ('"jo.doe"@example.com', Address("jo.doe@example.com")),
        ('Jo <"jo"@example.com>', Address("jo@example.com", "Jo")),
        (f"{'x' * 640} <jo@example.com>", Address("jo@example.com", "x" * 640)),
        (f"{'Ж' * 100} <jo@example.com>", Address("jo@example.com", "Ж" * 100)),
        ("Jörg 🎉 <jo@example.com>", Address("jo@example.com", "Jörg 🎉")),
        (f"{LONG}@example.com", Address(f"{LONG}@example.com")),
        ("o'neil/x=y@example.com", Address("o'neil/x=y@example.com")),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    """An address is known lower-cased with its domain in A-labels; its spelling and name are kept."""
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        (" \t ", "empty"),
        ("jo\r\nBcc: x@example.com", "control-characters"),
        ("jo@example.com\n", "control-characters"),
        ("jo@example.com\r", "control-characters"),
        ("jo@exam\0ple.com", "control-characters"),
        ("Jo\u2028 <jo@example.com>", "control-characters"),
        ("jo\x7f@example.com", "control-characters"),
        ("jo\ud800@example.com", "control-characters"),
        ("jo", "no-at"),
        ("jo＠example.com", "no-at"),
        ("Jo <jo>", "no-at"),
        ("a@example.com, b@example.com", "several"),
        ("a@example.com;b@example.com", "several"),
        ("a@b@example.com", "several"),
        ("Jo <a@example.com> <b@example.com>", "several"),
        ("a@example.com, Inc. <b@example.com>", "several"),
        ('"jo doe"@example.com', "quoted-local"),
        ("jö@example.com", "non-ascii-local"),
        ("jo@[192.0.2.1]", "address-literal"),
        ("jo@[IPv6:2001:db8::1]", "address-literal"),
        (f"{LONG}a@example.com", "too-long"),
        (f"jo@{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}.{'e' * 60}.com", "too-long"),
        ("x" * 5_000, "too-long"),
        (f"{'x' * 641} <jo@example.com>", "too-long"),
        (f"{'Ж' * 240} <jo@example.com>", "too-long"),
        ("@example.com", "local"),
        (".jo@example.com", "local"),
        ("jo.@example.com", "local"),
        ("j..o@example.com", "local"),
        ("jo doe@example.com", "local"),
        ("mailto:jo@example.com", "local"),
        ("jo@", "domain"),
        ("jo@localhost", "domain"),
        ("jo@example", "domain"),
        ("jo@example.invalid", "domain"),
        ("jo@example..com", "domain"),
        ("jo@-example.com", "domain"),
        ("jo@exa_mple.com", "domain"),
        ("jo@exam ple.com", "domain"),
        ("jo@192.0.2.1", "domain"),
        ("jo@xn--zzzz.example", "domain"),
        (f"jo@{'a' * 64}.com", "domain"),
    ],
)
def test_refused(text: str, code: str) -> None:
    """What SES cannot send to has a code, and a sentence that repeats nothing of it."""
    with pytest.raises(Unsendable) as refused:
        parse_address(text)
    assert refused.value.code == code
    assert str(refused.value).endswith(".")
    assert "example" not in str(refused.value)
    assert "jo" not in str(refused.value)


local_parts = st.from_regex(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(\.[A-Za-z0-9]{1,5})?", fullmatch=True
)
labels = st.from_regex(r"[A-Za-z0-9àéüß日本]{1,12}", fullmatch=True)


@settings(max_examples=200)
@given(local_parts, labels, st.sampled_from(["com", "Example", "DE", "xn--p1ai"]))
def test_same_as_events(local: str, label: str, top: str) -> None:
    """The events of what was sent name the same address: what mail goes to, read as SES's text is."""
    found = parse_address(f"{local}@{label}.{top}")
    assert normalize_address(found.mailbox) == (found.address, found.spelling, True)
    assert parse_address(found.mailbox) == found
    assert found.mailbox.isascii()


@settings(max_examples=200)
@given(st.text(max_size=80))
def test_anything(text: str) -> None:
    """Whatever is given, the answer is an address or a refusal."""
    for given_text in (text, f"{text}@example.com", f"jo@{text}.com", f"{text} <jo@example.com>"):
        try:
            found = parse_address(given_text)
        except Unsendable:
            continue
        assert parseaddr(found.header)[1] == found.mailbox


@settings(max_examples=200)
@given(
    st.text(min_size=1, max_size=90).map(str.strip).filter(lambda name: name and name.isprintable())
)
def test_names_in_headers(name: str) -> None:
    """A name in a header is ASCII on one line and reads as it was written."""
    header = header_address("jo@example.com", name)
    assert header.isascii()
    assert header.isprintable()
    parsed = message_from_string(f"To: {header}\n\n", policy=policy.compat32)
    shown, mailbox = parseaddr(parsed["To"])
    assert (str(make_header(decode_header(shown))), mailbox) == (name, "jo@example.com")


@pytest.mark.parametrize(
    "bad", ["\r", "\n", "\0", "\r\nBcc: x@example.com", "\x1b", "\x85", "\u2029"]
)
def test_header_values(bad: str) -> None:
    """Nothing that could begin another header goes into one; what is only foreign does."""
    assert header_value("Grüße 🎉 und \u200bmehr") == "Grüße 🎉 und \u200bmehr"
    for call in (
        lambda: header_value(f"a{bad}b"),
        lambda: header_address("jo@example.com", f"a{bad}b"),
        lambda: header_address(f"jo@example.com{bad}", None),
    ):
        with pytest.raises(Unsendable) as refused:
            call()
        assert refused.value.code == "control-characters"
