"""Addresses: one reading of them, whoever asks."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesight.domain.address import (
    domain_of,
    normalize_address,
    normalize_address_or_domain,
    normalize_addresses,
)
from sesight.domain.text import SHORT

FEWER = settings(max_examples=200)
ANA = ("ana@example.org", None, True)
CYRILLIC = "Ж" * 80
ENCODED = " ".join(["=?utf-8?B?0JbQltCW0JbQltCW0JbQltCW0JbQltCW0JbQltCW?="] * 9)
LONG_DOMAIN = ".".join(["a" * 60] * 5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ana@example.org", ANA),
        ("Ana@Example.ORG", ("ana@example.org", "Ana@Example.ORG", True)),
        ("ana+x@example.org", ("ana+x@example.org", None, True)),
        ("a.n.a@example.org", ("a.n.a@example.org", None, True)),
        ("<full@example.org>", ("full@example.org", None, True)),
        (" ana@example.org ", ANA),
        ("\u00a0\ufeffana@example.org\ufeff", ANA),
        ("Ana B <ana@example.org>", ANA),
        ("Ana B <Ana@example.org>", ("ana@example.org", "Ana@example.org", True)),
        ('"Gone, A." <gone@example.org>', ("gone@example.org", None, True)),
        ("Gone, A. <gone@example.org>", ("gone@example.org", None, True)),
        ("ana@example.org.", ANA),
        ("ana@example.org。", ("ana@example.org", "ana@example.org。", True)),
    ],
)
def test_usual(text: str, expected: tuple[str, str | None, bool]) -> None:
    """An address is the bare mailbox in lower case; how it was spelled is kept."""
    assert normalize_address(text) == expected


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("u@bücher.example", "u@xn--bcher-kva.example"),
        ("u@BÜCHER.example", "u@xn--bcher-kva.example"),
        ("u@bu\u0308cher.example", "u@xn--bcher-kva.example"),
        ("U@XN--Bcher-KVA.example", "u@xn--bcher-kva.example"),
        ("u@straße.example", "u@xn--strae-oqa.example"),
        ("x@ｅｘａｍｐｌｅ.org", "x@example.org"),
        ("ana@ofﬁce.org", "ana@office.org"),
        ("ana@ΟΔΟΣ.example", "ana@xn--pxavbq.example"),
        ("ana@οδος.example", "ana@xn--pxavbm.example"),
        ("ana@\u212aate.example", "ana@kate.example"),
        ("ana@ex\u00adample.org", "ana@example.org"),
        ("ana@exam\u200bple.org", "ana@example.org"),
        ("ana@例え。jp", "ana@xn--r8jz45g.jp"),
        ("josé@example.org", "josé@example.org"),
        ("José@example.org", "josé@example.org"),
    ],
)
def test_scripts(text: str, key: str) -> None:
    """A domain is read by UTS 46, as the sender reads it, and kept in A-labels."""
    assert normalize_address(text) == (key, text if text != key else None, True)


def test_local_parts_of_other_scripts() -> None:
    """Only ASCII is lower-cased in a local part: a Kelvin sign does not stand for a `k`."""
    assert [
        normalize_address(f"{local}@example.org")[0] for local in ("\u212aate", "JOSÉ", "İo")
    ] == [
        "\u212aate@example.org",
        "josÉ@example.org",
        "İo@example.org",
    ]


@pytest.mark.parametrize(
    "text",
    [
        '"ana"@example.org',
        r'"a\na"@example.org',
        'Ana <"ana"@Example.org>',
        "ana@example.org (Ana, at work)",
        "(a (nested) comment) ana@example.org",
        "ana(comment)@(another)example.org",
        "<@relay.example,@other.example:ana@example.org>",
        "mailto:ana@example.org",
        "Ana <mailto:ana@example.org>",
        "Team: ana@example.org;",
        "Ana Bee ana@example.org",
        "Ana Bee <ana@example.org",
        '"Ana <ana@example.org>',
        'Ana "B <ana@example.org>',
        "Ana :-( <ana@example.org>",
        "Ana [via Relay] <ana@example.org>",
        "Ana @ Contoso, Ltd. <ana@example.org>",
        '"bo@example.org" <ana@example.org>',
        "bo@example.org <ana@example.org>",
        "Ana <via> <ana@example.org>",
        "<<ana@example.org>>",
        "ana @ example.org",
        "ana\r\n@example.org\t",
        "ana@example.org\ud800\n",
        f"{CYRILLIC} <ana@example.org>",
        f"{ENCODED} <ana@example.org>",
        f"{'x' * 100_000} <ana@example.org>",
    ],
)
def test_ways_to_write_an_address(text: str) -> None:
    """Names, however long or odd, comments, groups, routes and needless quotes are no part of it."""
    assert normalize_address(text)[0] == "ana@example.org"
    assert normalize_address(text)[2]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('"a b"@Example.org', '"a b"@example.org'),
        ('Ana <"A B"@example.org>', '"a b"@example.org'),
        (r'"a\"b\\"@example.org', r'"a\"b\\"@example.org'),
        ('""@example.org', '""@example.org'),
        ("ana@[192.0.2.1]", "ana@[192.0.2.1]"),
        ("Ana@[IPv6:2001:DB8::1]", "ana@[ipv6:2001:db8::1]"),
        ("Ana@localhost", "ana@localhost"),
    ],
)
def test_what_ses_cannot_send_to(text: str, key: str) -> None:
    """An address that SES cannot send to is known in one way all the same."""
    assert normalize_address(text)[::2] == (key, False)
    assert normalize_address(key) == (key, None, False)


@pytest.mark.parametrize(
    "text",
    [
        "undisclosed-recipients:;",
        "ana@a..bé.example",
        "ana@exam\u202eple.é.org",
        "ana",
        "@example.org",
        "ana@",
        "@",
        "bo@@example.org",
        "a@b@example.org",
        "ana@ex ample.é",
        'Ana "B" ana"x"@example.org',
        "Ana B <ana@example.org, bo@example.org>",
        "ana@example.org, bo@example.org",
        f"ana@{LONG_DOMAIN}.é",
    ],
)
def test_as_spelled(text: str) -> None:
    """What names no mailbox, or several, is known as it is spelled."""
    expected = text if len(text) <= SHORT else normalize_address(text)[0]
    assert normalize_address(text) == (expected, None, False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", "(empty)"), (" ", "(empty)"), (None, "(empty)"), ({}, "(empty)"), (5, "5")],
)
def test_nothing(value: object, expected: str) -> None:
    """What is no text names nobody."""
    assert normalize_address(value) == (expected, None, False)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("ana@example.org, bo@example.org", ["ana@example.org", "bo@example.org"]),
        ("Ana <ana@example.org>; Bo <bo@example.org>", ["ana@example.org", "bo@example.org"]),
        ("ana@example.org bo@example.org", ["ana@example.org", "bo@example.org"]),
        ("Team: ana@example.org, Bo <bo@example.org>;", ["ana@example.org", "bo@example.org"]),
        ('"Bee, A" <ana@example.org>, bo@example.org', ["ana@example.org", "bo@example.org"]),
        ("Ana <ana@example.org> <bo@example.org>", ["ana@example.org", "bo@example.org"]),
        ("ana@example.org, Ana@Example.org", ["ana@example.org"]),
        ("ana@example.org, nobody", ["ana@example.org"]),
        ("Ana@home; dad <ana@example.org>", ["ana@example.org"]),
        ("ana", ["ana"]),
        ("", ["(empty)"]),
    ],
)
def test_several(text: str, keys: list[str]) -> None:
    """A text with several mailboxes names each of them once."""
    assert [found[0] for found in normalize_addresses(text)] == keys


@pytest.mark.parametrize(
    "text",
    [
        '"' * 200_000,
        '"\\' * 100_000,
        "(" * 200_000,
        "(" * 100_000 + ")" * 100_000,
        "<" * 200_000,
        "a@" * 100_000,
        "@," * 100_000,
        "a" * 200_000 + "@example.org",
        "é" * 200_000 + "@" + "é" * 200_000,
        "ana@example.org," * 10_000,
    ],
    ids=lambda text: text[:2],
)
def test_huge(text: str) -> None:
    """However long and odd a text is, its key is short and found at once."""
    assert len(normalize_address(text)[0]) <= SHORT


def test_bounded() -> None:
    """An address that is too long keeps a hash, so that two never meet, and cannot be sent to."""
    one, other = (normalize_address(f"{'a' * 300}{n}@example.org") for n in (1, 2))
    assert one[0] != other[0]
    assert (len(one[0]), one[2], normalize_address(one[0])) == (SHORT, False, (one[0], None, False))


@settings(max_examples=500)
@given(
    st.text(st.characters(codec=None), max_size=40)
    | st.text('ab@.,;:<>()[]"\\ é\u212aＡ。\u00ad\ufeff\u00a0\n=?', max_size=30)
    | st.from_regex(
        r'"?[A-Za-zäß. ]{0,9}"? ?<?[A-Za-z."+]{0,6}@[A-Za-zäßİ.-]{0,9}>?', fullmatch=True
    )
    | st.text("x@y. <,", min_size=250, max_size=700)
)
def test_any_text(text: str) -> None:
    """Any text gives an address that is stored whole and is its own normal form."""
    for found in (normalize_address(text), *normalize_addresses(text)):
        key, spelling, mailable = found
        assert key == key.encode().decode() != ""
        assert len(key) <= SHORT
        assert normalize_address(key) == (key, None, mailable)
        assert not mailable or spelling is None or normalize_address(spelling)[0] == key


@FEWER
@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters='"\\'),
        max_size=300,
    )
)
def test_any_name(name: str) -> None:
    """Whatever name is quoted before an address, of whatever length, the address is the same."""
    assert normalize_address(f'"{name}" <ana@example.org>') == ANA


@pytest.mark.parametrize(
    ("text", "key", "mailable"),
    [
        ("@Example.org", "@example.org", True),
        (" @ｅｘａｍｐｌｅ.org ", "@example.org", True),
        ("@bücher.example", "@xn--bcher-kva.example", True),
        ("Ana@Example.org", "ana@example.org", True),
        ("@home <ana@example.org>", "ana@example.org", True),
        ("@localhost", "@localhost", False),
        ("@", "@", False),
    ],
)
def test_domains(text: str, key: str, mailable: bool) -> None:
    """A whole domain is read as the domain of an address is."""
    assert normalize_address_or_domain(text)[::2] == (key, mailable)


@pytest.mark.parametrize(
    ("key", "domain"),
    [
        ("ana@example.org", "example.org"),
        ("Ana [via Relay] <ana@example.org>", "example.org"),
        ("ana@x>", None),
        ("Ana", None),
    ],
)
def test_domain_of(key: str, domain: str | None) -> None:
    """Only an address has a domain: what does not parse is no part of it."""
    assert domain_of(key) == domain


def test_composition() -> None:
    """Composed and decomposed, a domain is one."""
    for text in ("ana@bücher.example", "ana@Ａ\u030aｂ.example", "ana@ｶﾞ.example"):
        forms = {unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")}
        assert len({normalize_address(each)[0] for each in forms}) == 1
