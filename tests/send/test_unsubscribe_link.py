"""Unsubscribe links: tokens that nobody else can make, in the headers of RFC 8058."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesight.domain.errors import NotFound, SettingsError, StoreUnavailable
from sesight.domain.template import RenderedTemplate
from sesight.domain.unsubscribe import UnsubscribeTarget
from sesight.send.message import OutgoingMessage, Unsendable, request
from sesight.send.stream_secrets import SesSecrets
from sesight.send.unsubscribe_link import TOKEN_LIMIT, Tokens, UnsubscribeLinks, headers, link

ONE, TWO = "11" * 32, "22" * 32
LEAVE = UnsubscribeTarget(
    "outreach", "jo@example.com", "spring-2026", 20_781, "0a1b2c3d4e5f60718293"
)
TOKENS = Tokens({"a": ONE})
TOKEN = TOKENS.make(LEAVE)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def refused(token: str, tokens: Tokens = TOKENS) -> bool:
    """Return whether a token is refused, in a sentence that repeats nothing of it."""
    try:
        tokens.read(token)
    except NotFound as error:
        return "unsubscribe link cannot be read" in str(error) and "jo" not in str(error)
    return False


leaves = st.builds(
    UnsubscribeTarget,
    st.sampled_from(["outreach", "finance"]),
    st.from_regex(r"[a-z0-9.]{1,40}@[a-z0-9-]{1,20}\.example", fullmatch=True),
    st.none() | st.from_regex(r"[A-Za-z0-9_-]{1,256}", fullmatch=True),
    st.integers(0, 60_000),
    st.from_regex(r"[0-9a-f]{20}", fullmatch=True),
)


@settings(max_examples=200)
@given(leaves, leaves)
def test_what_is_made_is_read(one: UnsubscribeTarget, other: UnsubscribeTarget) -> None:
    """A token stands for all its link does; it is the same each time, and no other's."""
    token = TOKENS.make(one)
    assert TOKENS.read(token) == one
    assert TOKENS.make(one) == token
    assert (TOKENS.make(other) == token) == (other == one)


def test_nothing_can_be_seen() -> None:
    """A token shows neither address nor stream nor campaign, also to who decodes it."""
    name, _, text = TOKEN.partition(".")
    seen = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert name == "a"
    assert not any(part in seen for part in (b"jo", b"example", b"outreach", b"spring", b"0a1b"))


@pytest.mark.parametrize("at", range(len(TOKEN)))
def test_forged_at_every_place(at: int) -> None:
    """No token is read that differs in one character, whichever it is, or lacks what follows it."""
    for character in ALPHABET + ".=+/ é\0":
        assert character == TOKEN[at] or refused(TOKEN[:at] + character + TOKEN[at + 1 :])
    assert refused(TOKEN[:at])
    assert refused(TOKEN[:at] + TOKEN[at + 1 :])


def test_forged_at_every_bit() -> None:
    """No token is read of which one bit was turned in what its text stands for."""
    name, _, text = TOKEN.partition(".")
    sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    for at in range(len(sealed)):
        for bit in range(8):
            turned = bytearray(sealed)
            turned[at] ^= 1 << bit
            written = base64.urlsafe_b64encode(turned).decode().rstrip("=")
            assert refused(f"{name}.{written}"), (at, bit)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "a.",
        "a",
        TOKEN.partition(".")[2],
        TOKEN + "=",
        TOKEN + "A",
        TOKEN + "\n",
        " " + TOKEN,
        TOKEN + TOKEN,
        TOKEN.replace(".", ".."),
        "a." + "A" * 4_000,
        "a." + "é" * 40,
        Tokens({"a": TWO}).make(LEAVE),
        Tokens({"b": ONE}).make(LEAVE),
        "b." + TOKEN.partition(".")[2],
        "A." + TOKEN.partition(".")[2],
    ],
)
def test_forged(token: str) -> None:
    """No token is read that is cut, spelled otherwise, or made under another key or key's name."""
    assert refused(token)


@settings(max_examples=500)
@given(st.text(max_size=200), st.binary(max_size=200))
def test_anything(text: str, some: bytes) -> None:
    """Whatever is given, it is refused as a token that cannot be read."""
    for token in (text, f"a.{text}", f"a.{base64.urlsafe_b64encode(some).decode().rstrip('=')}"):
        assert refused(token)


def test_keys_are_added() -> None:
    """The last key makes tokens; those of earlier ones are read for as long as their key is there."""
    added = Tokens({"a": ONE, "b": TWO})
    assert added.make(LEAVE).startswith("b.")
    assert [added.read(each) for each in (TOKEN, added.make(LEAVE))] == [LEAVE, LEAVE]
    assert refused(added.make(LEAVE))
    assert refused(TOKEN, Tokens({"b": TWO}))
    assert refused(TOKEN, Tokens({}))


@pytest.mark.parametrize(
    "keys", [{"a": "zz" * 32}, {"a": "11" * 7}, {"a.b": ONE}, {"": ONE}, {"x" * 33: ONE}]
)
def test_wrong_keys(keys: dict[str, str]) -> None:
    """What is no key is said when it is given, and is not in what is said."""
    with pytest.raises(SettingsError) as error:
        Tokens(keys)
    assert ONE not in str(error.value)


def test_no_key() -> None:
    """Nothing is sent with a link that nobody could read."""
    with pytest.raises(SettingsError, match="no unsubscribe key"):
        Tokens({}).make(LEAVE)


def sender(stream: str, keys: dict[str, str], name: str | None = None) -> SesSecrets:
    return SesSecrets(
        stream=stream, from_address="news@example.org", from_name=name, unsubscribe_keys=keys
    )


def test_links_of_streams() -> None:
    """A link is read by the keys of the stream it is of; another stream's key does not make it one."""
    senders = {
        "outreach": sender("outreach", {"a": ONE}, "Example"),
        "finance": sender("finance", {"a": TWO}),
    }
    links = UnsubscribeLinks(list(senders), senders.__getitem__)
    finance = UnsubscribeTarget("finance", LEAVE.address, None, 20_781, LEAVE.send_id)
    assert links.read(TOKEN) == (LEAVE, "Example")
    assert links.read(Tokens({"a": TWO}).make(finance)) == (finance, "example.org")
    for swapped in (Tokens({"a": TWO}).make(LEAVE), Tokens({"a": ONE}).make(finance), "a.AAAA"):
        with pytest.raises(NotFound):
            links.read(swapped)


def test_one_key_for_two_streams() -> None:
    """Streams may share a key: a link still is of the one stream that it names."""
    links = UnsubscribeLinks(
        ["finance", "outreach"], lambda stream: sender(stream, {"a": ONE}, stream)
    )
    assert links.read(TOKEN) == (LEAVE, "outreach")


def test_keys_away() -> None:
    """While keys cannot be read, nobody is told that a link is bad which may be good."""

    def read(stream: str) -> SesSecrets:
        if stream == "finance":
            raise SettingsError("The secret cannot be read.")
        return sender(stream, {"a": ONE})

    links = UnsubscribeLinks(["finance", "outreach"], read)
    assert links.read(TOKEN).target == LEAVE
    with pytest.raises(StoreUnavailable):
        links.read("b.AAAA")


def test_headers() -> None:
    """A message has exactly one https address in its header, and says that one click will do."""
    url = link("https://mail.example.com/", TOKEN)
    assert url == f"https://mail.example.com/api/unsubscribe/{TOKEN}"
    assert headers(url) == (
        ("List-Unsubscribe", f"<{url}>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
    )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example.com",
        "http://mail.example.com",
        "https://",
        "https://mail.example.com/?a=b",
        "https://mail.example.com/#a",
        "mailto:jo@example.com",
    ],
)
def test_public_urls(url: str) -> None:
    """No provider would post to anything but https, so nothing else is promised; loopback is a try."""
    assert link("http://127.0.0.1:8025", "t") == "http://127.0.0.1:8025/api/unsubscribe/t"
    with pytest.raises(SettingsError):
        link(url, TOKEN)


def test_the_longest_fit() -> None:
    """The longest address and campaign that SES takes make a link that still fits into a header."""
    address = f"{'l' * 64}@{'.'.join(['d' * 59] * 3)}.example"
    assert len(address) <= 254
    token = TOKENS.make(UnsubscribeTarget("s" * 32, address, "c" * 256, 20_781, LEAVE.send_id))
    assert len(token) <= TOKEN_LIMIT
    found = headers(link("https://unsubscribe.mail.example.com", token))
    message = OutgoingMessage(
        to="jo@example.com",
        sender="news@example.org",
        configuration_set="outreach-tracking",
        tags={},
        content=RenderedTemplate("Hello", None, "Hello"),
        headers=found,
    )
    sent = request(message)["Content"]["Simple"]["Headers"]
    assert [(each["Name"], each["Value"]) for each in sent] == list(found)
    with pytest.raises(Unsendable):
        headers(link(f"https://mail.example.com/{'x' * 400}", token))
