"""Link keys: pages stay readable, tokens and people do not stay."""

import re
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sesight.domain.link import DECODINGS, is_tag_key, is_token, link_key, tag_key
from sesight.domain.text import LONG
from tests.payload import PAYLOADS

FEWER = settings(max_examples=500)

LINKS = [
    tuple(line.split("\t")) for line in (PAYLOADS / "links.tsv").read_text("utf-8").splitlines()
]
"""Links as they are in mail, each with the key it has to have."""

WORDS = sorted(
    {
        word
        for _, key in LINKS
        if "{id}" not in key
        for word in re.findall("[a-z]+", key.rpartition("/")[2])
        if 3 <= len(word) <= 12 and not is_token(word)
    }
)
"""Words of the titles that are kept."""


def test_links_of_both_kinds() -> None:
    """The file has a few hundred links, about as many that are kept as with a token in them."""
    changed = sum("{id}" in key for _, key in LINKS)
    assert (len(LINKS) > 350, changed > 150, len(LINKS) - changed > 150) == (True, True, True)


@pytest.mark.parametrize(("link", "key"), LINKS, ids=[link[:70] for link, _ in LINKS])
def test_real_links(link: str, key: str) -> None:
    """A page's name stays whatever digits are in it; a token, a person or a working link does not."""
    assert link_key(link) == key


@pytest.mark.parametrize(
    ("link", "key"),
    [
        ("https://www.example.com/p?utm_source=digest&x=%C3%A9", "https://www.example.com/p"),
        ("https://www.example.com", "https://www.example.com"),
        ("https://www.example.com/", "https://www.example.com/"),
        ("HTTPS://WWW.Example.com/Pricing#plans", "https://www.example.com/Pricing"),
        ("http://example.com:8080/a", "http://example.com:8080/a"),
        ("https://user:secret@example.com/a", "https://example.com/a"),
        ("https://example.com/u/ana@example.org/x", "https://example.com/u/{id}/x"),
        ("https://example.com/u/ana%40example.org", "https://example.com/u/{id}"),
        ("https://example.com/o/8d969eef6ecad3c29a3a629280e686cf", "https://example.com/o/{id}"),
        (
            "https://example.com/o/0102019c-5b6e-4d1a-9c3f-7f3c2a105b6e",
            "https://example.com/o/{id}",
        ),
        ("https://example.com/order/1234567", "https://example.com/order/{id}"),
        ("https://example.com/order/12345", "https://example.com/order/12345"),
        ("https://example.com/t/eyJhbGciOiJIUzI1NiJ9", "https://example.com/t/{id}"),
        (
            "https://example.com/a-long-but-readable-title",
            "https://example.com/a-long-but-readable-title",
        ),
        (f"https://example.com/{'x' * 64}", "https://example.com/{id}"),
        (" https://example.com/a ", "https://example.com/a"),
        ("mailto:ana@example.org", "mailto:"),
        ("tel:+4930123456", "tel:"),
        ("javascript:alert(1)", "javascript:"),
        ("data:text/html,<script>alert(1)</script>", "data:"),
        ('"><script>alert(1)</script>', "~unreadable"),
        ("https://[::1", "~unreadable"),
        ("https://example.com:99999/", "~unreadable"),
        ("https:///nowhere", "https:"),
        ("", "~unreadable"),
        ("/only/a/path", "~unreadable"),
    ],
)
def test_link_keys(link: str, key: str) -> None:
    """A link counts under scheme, host and path; nothing personal and nothing executable is kept."""
    assert link_key(link) == key


@FEWER
@given(st.text(max_size=200) | st.from_regex(r"https?://[a-z.]+/[ -~]{0,300}", fullmatch=True))
@example("http://0/ ;")
def test_any_link_key(link: str) -> None:
    """Any text gives a key that fits and is http(s), a bare scheme, or unreadable; the key of a key is
    itself.
    """
    key = link_key(link)
    assert len(key) <= LONG
    assert key.startswith(("http://", "https://")) or key == "~unreadable" or key[-1] == ":"
    assert "?" not in key
    assert "@" not in key
    assert link_key(key) == key or key == "~unreadable"


def test_long_link() -> None:
    """A link with a very long path is cut, and a cut one keeps its hash."""
    assert link_key("https://example.com/" + "a/" * 4_000) != link_key(
        "https://example.com/" + "a/" * 4_000 + "b"
    )


tokens = (
    st.binary(min_size=16, max_size=16).map(lambda data: str(UUID(bytes=data)))
    | st.binary(min_size=12, max_size=32).map(bytes.hex)
    | st.integers(100_000_000, 10**20).map(str)
    | st.from_regex(r"[a-z0-9.+_-]{1,20}@[a-z]{1,12}\.example", fullmatch=True)
)


@FEWER
@given(tokens, st.integers(0, 7), st.sampled_from(["", "/x", ";v=1", "?a=b"]))
@example("ana@example.org", DECODINGS + 1, "")
def test_a_token_never_stays(token: str, encoded: int, end: str) -> None:
    """However often it is encoded and whatever follows it, a token becomes `{id}`."""
    written = token
    for _ in range(encoded):
        written = quote(written, safe="")
    rest = end if end == "/x" else ""
    assert (
        link_key(f"https://example.com/a/{written}{end}") == f"https://example.com/a/{{id}}{rest}"
    )


@FEWER
@given(st.lists(st.sampled_from(WORDS), min_size=2, max_size=8), st.integers(1, 2_100))
def test_titles_stay(words: list[str], number: int) -> None:
    """A title in words stays with a number in it, at any place."""
    for title in ("-".join([*words, str(number)]), "-".join([words[0], str(number), *words[1:]])):
        link = f"https://example.com/blog/{title}"
        assert link_key(link) == link


@pytest.mark.parametrize(
    ("tags", "key"),
    [
        ((("pos", "header"),), "pos:header"),
        ((("product", "p42"), ("slot", "hero")), "product:p42;slot:hero"),
        ((("user", "ana@example.org"),), "user:{id}"),
        ((("id", "8d969eef6ecad3c29a3a629280e686cf"), ("pos", "cta-2")), "id:{id};pos:cta-2"),
        ((("", ""),), ":"),
    ],
)
def test_tag_keys(tags: tuple[tuple[str, str], ...], key: str) -> None:
    """A link with tags counts under these; a value that is a token or a person does not stay."""
    assert tag_key(tags) == key


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("pos:header", True),
        ("product:p42;slot:hero", True),
        ("user:{id}", True),
        ("pos:", True),
        ("javascript:alert(1)", False),
        ("data:text/html", False),
        ("mailto:ana@example.org;x", False),
        ("pricing", False),
        ("https://example.com/", False),
    ],
)
def test_is_tag_key(key: str, expected: bool) -> None:
    """What is made of link tags is told from an address with a scheme."""
    assert is_tag_key(key) is expected
