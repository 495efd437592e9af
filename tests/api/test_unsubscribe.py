"""The page of an unsubscribe link asks; its button, and mailbox providers, unsubscribe."""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from sesight.api.application import create_api, create_public
from sesight.api.unsubscribe import BODY_LIMIT, is_one_click
from sesight.app import App
from sesight.domain.ports import Changes
from sesight.domain.stream import FINANCE, OUTREACH, Stream
from sesight.domain.suppression.item import Removal, SuppressionScope, with_removal
from sesight.domain.suppression.policy import SuppressionPolicy
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import DAY, HOUR
from sesight.domain.unsubscribe import UnsubscribeTarget
from sesight.send.stream_secrets import SesSecrets
from sesight.send.unsubscribe_link import Tokens
from sesight.settings import SendingSettings, Settings, StoreSettings
from tests.builders import NOW, Told, delivery, fill

KEY = "11" * 32
ANA = "ana@contoso.example"
SENT_AT = NOW - DAY
LEAVE = UnsubscribeTarget("outreach", ANA, "winter-b", SENT_AT // DAY, "0a1b2c3d4e5f60718293")
BODY = b"List-Unsubscribe=One-Click"
FORM = "application/x-www-form-urlencoded"
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def path_of(leave: UnsubscribeTarget = LEAVE, key: str = KEY) -> str:
    return f"/api/unsubscribe/{Tokens({'k1': key}).make(leave)}"


PATH = path_of()

Opening = Callable[..., tuple[App, TestClient[Litestar]]]


@pytest.fixture
def opening(tmp_path: Path) -> Iterator[Opening]:
    """Open an app, and a client of one of its listeners, over one store."""
    opened: list[Any] = []
    now = [NOW]

    def made(
        label: str = "Outreach",
        scope: SuppressionScope = SuppressionScope.STREAM,
        streams: list[Stream] | None = None,
        public: bool = False,
    ) -> tuple[App, TestClient[Litestar]]:
        senders = [
            SesSecrets(
                stream=stream,
                from_address="news@example.org",
                from_name="Example & Sons",
                unsubscribe_keys={"k1": KEY},
            )
            for stream in ("outreach", "finance")
        ]
        outreach = msgspec.structs.replace(OUTREACH, label=label)
        settings = Settings(
            store=StoreSettings(f"sqlite:///{tmp_path}/sesight.db"),
            recipient_key="5e" * 32,
            suppression=SuppressionPolicy(unsubscribed=scope),
            sending=SendingSettings(senders=senders),
            streams=[outreach, FINANCE] if streams is None else streams,
        )

        def clock() -> int:
            now[0] += 1
            return now[0]

        app = App(settings, clock=clock)
        made_of = create_public if public else create_api
        client = TestClient(
            made_of(app.services()), base_url="http://127.0.0.1", raise_server_exceptions=False
        )
        client.__enter__()
        opened.extend([client.__exit__, app.close])
        return app, client

    yield made
    for close in opened:
        close()


def with_link(told: Told, leave: UnsubscribeTarget = LEAVE) -> Told:
    """Return an event of the message that had a link."""
    stream, event = told
    identity = msgspec.structs.replace(event.identity, send_id=leave.send_id)
    return stream, msgspec.structs.replace(event, identity=identity)


def causes(app: App, stream: str = "outreach", address: str = ANA) -> list[tuple[Any, ...]]:
    """Return what speaks for suppressing an address."""
    item = app.store.suppression(stream, address)
    return [
        (each.reason, each.scope, each.campaign, each.message_id, each.stream)
        for each in (item.causes if item is not None else ())
    ]


def unsubscribed(app: App, campaign: str = "winter-b") -> int:
    """Return how many of a campaign's recipients count as unsubscribed."""
    found = [
        row.counts[COUNTERS.index("unsubscribed")]
        for row in app.store.campaign_totals("outreach", campaign)
        if row.key.dimension == ""
    ]
    return sum(found)


class Page(HTMLParser):
    """What is on a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags[-1][0] != "style":
            self.words += data


def test_the_page_asks(opening: Opening) -> None:
    """Opened, the link shows whose mail of what kind would end, and a button; not the whole address."""
    _, client = opening()
    answer = client.get(PATH, headers=HTML)
    page = Page(answer.text)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "Unsubscribe from Outreach?" in page.words
    assert (
        "to stop getting “Outreach” mail from Example & Sons at a***@contoso.example" in page.words
    )
    assert ANA not in answer.text
    fields = [about for tag, about in page.tags if tag == "input"]
    assert fields == [{"type": "hidden", "name": "List-Unsubscribe", "value": "One-Click"}]
    assert [about for tag, about in page.tags if tag == "form"] == [{"method": "post"}]


def test_the_page_loads_nothing(opening: Opening) -> None:
    """The page has no script, no image and no link, sets no cookie, tells no other site of itself,
    and no search engine keeps it.
    """
    _, client = opening()
    answer = client.get(PATH, headers=HTML)
    tags = Page(answer.text).tags
    assert {tag for tag, _ in tags} <= {
        *{"html", "head", "meta", "title", "style", "body", "main", "h1", "p", "b"},
        *{"form", "input", "button"},
    }
    assert not any({"src", "href", "style", "action"} & set(about) for _, about in tags)
    assert "url(" not in answer.text
    assert "set-cookie" not in answer.headers
    policy = answer.headers.get_list("content-security-policy")
    assert len(policy) == 1
    assert policy[0].startswith("default-src 'none'; form-action 'self'; frame-ancestors 'none'")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-robots-tag"] == "noindex, nofollow"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_scanners_change_nothing(opening: Opening) -> None:
    """However often a scanner opens the link, in whatever way, nobody is unsubscribed."""
    app, client = opening()
    fill(app.store, [with_link(delivery())])
    for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"):
        for agent in ("Mozilla/5.0", "GoogleImageProxy", ""):
            client.request(method, PATH, headers={"user-agent": agent})
    for _ in range(20):
        assert client.get(PATH, params={"utm_source": "mail", "List-Unsubscribe": "One-Click"})
    assert (causes(app), unsubscribed(app)) == ([], 0)
    assert len(app.store.message("m-1", NOW)[0].timeline) == 1


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("base", ["/api", ""])
def test_one_click(opening: Opening, public: bool, base: str) -> None:
    """A provider's post unsubscribes: the address is suppressed in its stream by its message and
    campaign, and counts as unsubscribed there; on the API's listener, and on the public one.
    """
    app, client = opening(public=public)
    fill(app.store, [with_link(delivery()), delivery("bo@contoso.example", message="m-2")])
    answer = client.post(
        base + PATH.removeprefix("/api"),
        content=BODY,
        headers={"content-type": FORM},
        follow_redirects=False,
    )
    if not public and not base:
        assert answer.status_code == 404
        return
    assert answer.status_code == 200
    assert "You are unsubscribed from Outreach" in Page(answer.text).words
    assert "You will no longer get “Outreach” mail from" in Page(answer.text).words
    assert "set-cookie" not in answer.headers
    assert causes(app) == [("unsubscribed", "stream", "winter-b", "m-1", "outreach")]
    assert causes(app, "finance") == []
    assert unsubscribed(app) == 1
    kinds = [held.type for held in app.store.message("m-1", NOW)[0].timeline]
    assert kinds == ["Delivery", "Subscription"]


def test_again(opening: Opening) -> None:
    """Asked again it answers the same and writes nothing; the page then says that it is done."""
    app, client = opening()
    fill(app.store, [with_link(delivery())])
    answers = [client.post(PATH, content=BODY) for _ in range(3)]
    assert {(each.status_code, each.text) for each in answers} == {(200, answers[0].text)}
    assert (len(causes(app)), unsubscribed(app)) == (1, 1)
    page = Page(client.get(PATH, headers=HTML).text)
    assert "already unsubscribed from Outreach" in page.words
    assert "form" not in [tag for tag, _ in page.tags]


def test_two_messages(opening: Opening) -> None:
    """Who unsubscribes by two messages counts in both campaigns; once suppressed is suppressed."""
    app, client = opening()
    other = msgspec.structs.replace(LEAVE, campaign="spring", send_id="ff" * 10)
    fill(
        app.store,
        [with_link(delivery()), with_link(delivery(message="m-2", campaign="spring"), other)],
    )
    for leave in (LEAVE, other, LEAVE, other):
        assert client.post(path_of(leave), content=BODY).status_code == 200
    assert [each[3] for each in causes(app)] == ["m-1", "m-2"]
    assert (unsubscribed(app), unsubscribed(app, "spring")) == (1, 1)


@pytest.mark.parametrize("held", [[], [delivery()], [with_link(delivery("bo@contoso.example"))]])
def test_no_record(opening: Opening, held: list[Told]) -> None:
    """Where the message is held no more, the address is suppressed all the same, with the campaign."""
    app, client = opening()
    fill(app.store, held)
    for _ in range(3):
        assert client.post(PATH, content=BODY).status_code == 200
    assert causes(app) == [("unsubscribed", "stream", "winter-b", None, "outreach")]
    assert unsubscribed(app) == 0


def test_expired(opening: Opening) -> None:
    """Links do not expire: that of a message from long ago suppresses."""
    app, client = opening()
    old = msgspec.structs.replace(LEAVE, day=SENT_AT // DAY - 3_000, campaign=None)
    assert client.post(path_of(old), content=BODY).status_code == 200
    assert causes(app) == [("unsubscribed", "stream", None, None, "outreach")]


def test_after_a_removal(opening: Opening) -> None:
    """Who was let back in, and unsubscribes again by the same link, is suppressed again."""
    app, client = opening()
    fill(app.store, [with_link(delivery())])
    client.post(PATH, content=BODY)
    item = app.store.suppression("outreach", ANA)
    lifted = with_removal(
        item, Removal(NOW + HOUR, "r1", tuple(cause.id for cause in item.causes), "asked us")
    )
    app.store.transact(
        lambda view: (
            view.suppressions([("outreach", ANA)]),
            Changes({}, {("outreach", ANA): lifted}, {}, {}, [], []),
        )[1]
    )
    assert "Nothing has changed yet" in client.get(PATH, headers=HTML).text
    client.post(PATH, content=BODY)
    assert len(causes(app)) == 2
    assert "already unsubscribed" in client.get(PATH, headers=HTML).text


@pytest.mark.parametrize(
    ("scope", "stream", "name", "words", "streams"),
    [
        (SuppressionScope.STREAM, "outreach", "Outreach", "“Outreach” mail", ["outreach"]),
        (
            SuppressionScope.MARKETING,
            "outreach",
            "all marketing mail",
            "marketing mail",
            ["outreach"],
        ),
        (
            *(SuppressionScope.MARKETING, "finance", "Finance and all marketing mail"),
            *("“Finance” mail and marketing mail", ["outreach", "finance"]),
        ),
        (SuppressionScope.ALL, "outreach", "all mail", "mail", ["outreach", "finance"]),
    ],
)
def test_scopes(
    opening: Opening,
    scope: SuppressionScope,
    stream: str,
    name: str,
    words: str,
    streams: list[str],
) -> None:
    """The page names the list and says what ends as far as the settings let an unsubscribe reach, and
    so it is.
    """
    app, client = opening(scope=scope)
    answer = client.post(
        path_of(msgspec.structs.replace(LEAVE, stream=stream)), content=BODY, headers=HTML
    )
    assert f"unsubscribed from {name}You will no longer get {words} from" in Page(answer.text).words
    assert [each for each in ("outreach", "finance") if causes(app, each)] == streams


def multipart(name: str = "List-Unsubscribe", value: str = "One-Click") -> bytes:
    return (
        f'--b0\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n--b0--\r\n'
    ).encode()


PARTS = "multipart/form-data; boundary=b0"


@pytest.mark.parametrize(
    ("body", "kind", "good"),
    [
        (BODY, FORM, True),
        (BODY, f"{FORM}; charset=utf-8", True),
        (BODY, "", True),
        (BODY + b"\r\n", FORM, True),
        (multipart(), PARTS, True),
        (multipart(), 'Multipart/Form-Data; boundary="b0"', True),
        (b"", FORM, False),
        (b"List-Unsubscribe", FORM, False),
        (b"List-Unsubscribe=", FORM, False),
        (b"List-Unsubscribe=Two-Clicks", FORM, False),
        (b"list-unsubscribe=One-Click", FORM, False),
        (BODY + b"&" + BODY, FORM, False),
        (b"a=b&" + BODY, FORM, False),
        (b'{"List-Unsubscribe":"One-Click"}', "application/json", False),
        (BODY, PARTS, False),
        (multipart(), "multipart/form-data", False),
        (multipart(), "multipart/form-data; boundary=c1", False),
        (multipart("Other"), PARTS, False),
        (multipart(value="No"), PARTS, False),
        (multipart()[:-8] + multipart(), PARTS, False),
        (b"\xff\x00" * 40, PARTS, False),
        (b"\xff\x00" * 40, FORM, False),
    ],
)
def test_bodies(opening: Opening, body: bytes, kind: str, good: bool) -> None:
    """Only what RFC 8058 says, as a form of either kind, unsubscribes; anything else is refused with
    what is wrong.
    """
    app, client = opening()
    answer = client.post(PATH, content=body, headers={"content-type": kind} if kind else {})
    assert is_one_click(body, kind) is good
    assert answer.status_code == (200 if good else 422)
    assert len(causes(app)) == good
    if not good:
        assert "List-Unsubscribe=One-Click" in answer.json()["detail"]


@pytest.mark.parametrize("public", [False, True])
def test_long_bodies(opening: Opening, public: bool) -> None:
    """Nobody sends a long body for a good reason: it is refused, however it comes."""
    app, client = opening(public=public)
    for content in (b"x" * (BODY_LIMIT + 1), iter([b"x" * 1_000] * 10)):
        answer = client.post(PATH, content=content, headers={"content-type": FORM})
        assert (answer.status_code, answer.json()["type"]) == (413, "too-large")
    assert causes(app) == []


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "token",
    [
        "x",
        PATH[-20:],
        PATH.rpartition("/")[2][:-1],
        path_of(key="22" * 32).rpartition("/")[2],
        "k1.AAAA",
        "%00",
        "k1.%F0%9F%8E%89",
        "A" * 5_000,
    ],
)
def test_bad_links(opening: Opening, public: bool, method: str, token: str) -> None:
    """A link that cannot be read is said to be so, to people on a page and to programs as a problem."""
    _, client = opening(public=public)
    url = f"/api/unsubscribe/{token}"
    answer = client.request(method, url, content=BODY if method == "POST" else None)
    assert (answer.status_code, answer.json()["type"]) == (404, "not-found")
    assert "cannot be read" in answer.json()["detail"]
    page = client.request(method, url, content=BODY if method == "POST" else None, headers=HTML)
    assert page.status_code == 404
    assert "This unsubscribe link cannot be read" in Page(page.text).words


def test_a_stream_that_is_gone(opening: Opening) -> None:
    """Mail of a kind that is not sent any more needs no unsubscribing: so it is said."""
    _, client = opening(streams=[OUTREACH])
    answer = client.get(path_of(msgspec.structs.replace(LEAVE, stream="finance")), headers=HTML)
    assert answer.status_code == 404
    assert "not sent any more" in Page(answer.text).words


@pytest.mark.parametrize("public", [False, True])
def test_store_away(opening: Opening, public: bool) -> None:
    """While the store is away a provider is told to try again, a person too, and nobody that it is done."""
    app, client = opening(public=public)
    app.store.close()
    assert "Nothing has changed yet" in client.get(PATH, headers=HTML).text
    answer = client.post(PATH, content=BODY)
    assert (answer.status_code, answer.json()["type"]) == (503, "unavailable")
    page = client.post(PATH, content=BODY, headers=HTML)
    assert page.status_code == 503
    assert "not unsubscribed yet" in Page(page.text).words
    assert "button" in [tag for tag, _ in Page(page.text).tags]
    assert int(answer.headers["retry-after"]) > 0
    assert int(page.headers["retry-after"]) > 0


def test_words_from_outside(opening: Opening) -> None:
    """A name in the settings is text on the page and nothing else."""
    _, client = opening(label="<script>alert(1)</script>")
    answer = client.get(PATH, headers=HTML)
    assert "<script" not in answer.text
    assert "“<script>alert(1)</script>” mail" in Page(answer.text).words


def test_no_token_in_a_log(opening: Opening, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong, no line of a log has a token in it, nor the address it stands for."""
    caplog.set_level(logging.DEBUG)
    app, client = opening()

    class Broken:
        def read(self, token: str) -> Any:
            raise ZeroDivisionError

    services = replace(app.services(), unsubscribing=Broken())
    token = PATH.rpartition("/")[2]
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the test's own client
    client.get(PATH)
    client.post(PATH, content=BODY)
    client.post(PATH, content=b"x")
    client.get(PATH + "x")
    client.put(PATH)
    with TestClient(
        create_api(services), base_url="http://127.0.0.1", raise_server_exceptions=False
    ) as broken:
        answer = broken.get(PATH)
    app.store.close()
    client.post(PATH, content=BODY)
    said = "\n".join(f"{each.getMessage()} {each.exc_text or ''}" for each in caplog.records)
    assert (answer.status_code, answer.json()["type"]) == (500, "failed")
    assert re.search(r"API_FAILED \w+ /api/unsubscribe/…", said)
    assert "API_UNAVAILABLE" in said
    assert token not in said
    assert token.rpartition(".")[2][:20] not in said
    assert ANA not in said
