"""Files of lists: whole however long and whatever happens meanwhile, or with the way to the rest."""

import asyncio
import csv
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from random import Random
from typing import Any
from urllib.parse import urljoin

import pytest
from litestar.exceptions import LitestarException

from sesight.api.application import create_api
from sesight.api.csv_file import PAGE
from sesight.domain.errors import StoreUnavailable
from sesight.domain.ports import Store
from sesight.domain.timestamps import HOUR, iso
from sesight.services import Services
from tests.builders import NOW, complaint, fill, opened, sent

MINUTE = HOUR // 60


class Sent:
    """What the API sent of one answer, as ASGI messages; `between` is called after each."""

    def __init__(
        self,
        services: Services,
        path: str,
        between: Callable[[], object] = lambda: None,
        *,
        is_kept: bool = True,
        method: str = "GET",
    ) -> None:
        self.chunks: list[bytes] = []
        self.size = -1
        """Lines after the header."""
        self._is_kept = is_kept
        self.status = 0
        self.is_whole = False
        self._between = between
        self._ended = asyncio.Event()
        target, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": target,
            "raw_path": target.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 0),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        asyncio.run(create_api(services)(scope, self._receive, self._send))  # type: ignore[arg-type]

    async def _receive(self) -> Any:
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        self.size += message["body"].count(b"\r\n")
        if self._is_kept:
            self.chunks.append(message["body"])
        self.is_whole = not message.get("more_body", False)
        if self.is_whole:
            self._ended.set()
        self._between()

    def column(self, name: str) -> list[str]:
        """Return the cells of a column."""
        text = b"".join(self.chunks).decode()
        return [row[name] for row in csv.DictReader(StringIO(text, newline=""))]


def mail(count: int, start: int = 0) -> list[Any]:
    """So many messages, a minute apart, the newest first; each is complained about."""
    return [
        complaint(f"p{n:05}@example.org", message=f"m{n:05}", sent_at=NOW - HOUR - n * MINUTE)
        for n in range(start, start + count)
    ]


class Failing:
    """A store whose pages of records fail after a few."""

    def __init__(self, store: Store, pages: int, error: Exception | None = None) -> None:
        self._store = store
        self._left = pages
        self._error = error or StoreUnavailable("The disk is gone.")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def messages(self, *args: Any, **options: Any) -> Any:
        """Return a page, or fail."""
        self._left -= 1
        if self._left < 0:
            raise self._error
        return self._store.messages(*args, **options)


def test_a_failure_before_the_first_row_is_a_problem(services, store) -> None:
    """While nothing has been sent, a store that fails is said in words."""
    fill(store, mail(3))
    answer = Sent(replace(services, store=Failing(store, 0)), "/api/messages?format=csv")
    assert (answer.status, answer.is_whole) == (503, True)


def test_a_failure_in_the_middle_leaves_the_answer_without_its_end(services, store) -> None:
    """Once rows have been sent, a store that fails leaves the answer without its end."""
    fill(store, mail(PAGE + 1))
    answer = Sent(replace(services, store=Failing(store, 1)), "/api/messages?format=csv")
    assert (answer.status, len(answer.column("messageId")), answer.is_whole) == (200, PAGE, False)


def test_a_row_that_cannot_be_read_leaves_the_answer_without_its_end(services, store) -> None:
    """A ValueError, which Litestar takes for the end of what it iterates over, is no end of a file."""
    fill(store, mail(PAGE + 1))
    failing = Failing(store, 1, ValueError("too many values to unpack"))
    with pytest.raises(LitestarException, match="after response started"):
        Sent(replace(services, store=failing), "/api/messages?format=csv")


def test_a_head_request_reads_one_page(services, store) -> None:
    """HEAD gives the headers of a file without reading it all."""
    fill(store, mail(PAGE + 1))
    failing = replace(services, store=Failing(store, 1))
    answer = Sent(failing, "/api/messages?format=csv", method="HEAD")
    assert (answer.status, answer.chunks, answer.is_whole) == (200, [b"", b""], True)


@pytest.mark.parametrize("seed", range(3))
def test_what_does_not_change_is_in_the_file_once(services, store, seed) -> None:
    """While a file is read, records come in anywhere, change and move; those that were there and stay
    as they are appear exactly once, in order.
    """
    count = 3 * PAGE + 7
    fill(store, mail(count))
    random = Random(seed)

    def meanwhile() -> None:
        at = NOW - random.randrange(count) * MINUTE
        changed = [f"m{2 * random.randrange(count // 2):05}" for _ in range(20)]
        fill(store, [sent(message=f"new-{random.random()}", sent_at=at) for _ in range(5)])
        fill(store, [opened(message=each, sent_at=at, to="p@example.org") for each in changed])
        fill(
            store,
            [opened(f"p{each[1:]}@example.org", message=each, sent_at=at) for each in changed],
        )

    answer = Sent(services, "/api/messages?format=csv", meanwhile)
    assert answer.is_whole
    unchanged = [f"m{n:05}" for n in range(1, count, 2)]
    assert [each for each in answer.column("messageId") if each in set(unchanged)] == unchanged


def test_suppressions_that_do_not_change_are_in_the_file_once(services, store) -> None:
    """While a file is read, addresses are suppressed and freed; the others appear exactly once."""
    count = 3 * PAGE + 7
    fill(store, mail(count))
    random = Random(8)

    def meanwhile() -> None:
        freed = [f"p{2 * random.randrange(count // 2):05}@example.org" for _ in range(20)]
        services.suppressions.remove(freed, "change-1", "asked for", ["outreach", "finance"])
        fill(store, mail(5, count + random.randrange(1_000)))

    answer = Sent(services, "/api/suppressions?format=csv", meanwhile)
    assert answer.is_whole
    unchanged = [f"p{n:05}@example.org" for n in range(1, count, 2)]
    assert [each for each in answer.column("email") if each in set(unchanged)] == unchanged


def test_memory_does_not_grow_with_the_file(services, store) -> None:
    """A file of many pages, some 14 MB, takes no more memory than one of two."""
    pages = 8
    tags = {f"tag-{n}": "long" * 50 for n in range(16)}
    fill(
        store,
        [
            sent(message=f"m{n}", sent_at=NOW - HOUR - n * MINUTE, tags=tags)
            for n in range(pages * PAGE)
        ],
    )
    Sent(services, "/api/messages?format=csv&limit=1")  # what is made once is made
    peaks = []
    for rows in (2 * PAGE, pages * PAGE):
        since = iso(NOW - HOUR - (rows - 1) * MINUTE)
        tracemalloc.start()
        answer = Sent(services, f"/api/messages?format=csv&from={since}", is_kept=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (answer.size, answer.is_whole) == (rows, True)
    assert peaks[1] < 1.3 * peaks[0]


# Where an answer may only have so many bytes


def followed(client: Any, path: str) -> list[list[dict[str, str]]]:
    """Return the rows of a file and of those its links lead to."""
    files = []
    while True:
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        files.append(list(csv.DictReader(StringIO(answer.text, newline=""))))
        assert len(answer.content) < 20_000
        following = answer.links.get("next")
        is_part = "_part.csv" in answer.headers["content-disposition"]
        assert is_part == (following is not None or len(files) > 1)
        if following is None:
            assert "sesight-next-cursor" not in answer.headers
            return files
        assert following["url"].endswith(f"cursor={answer.headers['sesight-next-cursor']}")
        path = urljoin(path, following["url"])


@pytest.mark.parametrize(
    ("path", "column", "key"),
    [
        ("/api/messages?format=csv&stream=outreach", "messageId", "m{:05}"),
        ("/api/outreach/tracking-data-ses?format=csv", "messageId", "m{:05}"),
        ("/api/suppressions?format=csv&reason=complaint", "email", "p{:05}@example.org"),
    ],
)
def test_a_function_gives_a_file_in_parts(services, serve, store, path, column, key) -> None:
    """Where an answer is bounded, a file ends before its bound and links to its next part; the parts
    together are the list, in order.
    """
    fill(store, mail(PAGE + 20))
    files = followed(serve(replace(services, answer_bytes=20_000)), path)
    assert len(files) > 2
    assert [row[column] for file in files for row in file] == [
        key.format(n) for n in range(PAGE + 20)
    ]


def test_a_function_gives_campaigns_in_parts(services, serve, store) -> None:
    """The same is so of campaigns."""
    fill(store, [sent(message=f"m{n}", campaign=f"c{n:03}") for n in range(60)])
    path = "/api/campaigns?format=csv&sort=campaign"
    files = followed(serve(replace(services, answer_bytes=10_000)), path)
    assert len(files) > 1
    assert [row["campaign"] for file in files for row in file] == [f"c{n:03}" for n in range(60)]


def test_a_part_has_one_row_at_least(services, serve, store) -> None:
    """A row that is longer than an answer may be is given alone, so that a client gets on."""
    fill(store, mail(3))
    files = followed(serve(replace(services, answer_bytes=1)), "/api/messages?format=csv")
    assert [len(file) for file in files] == [1, 1, 1]


def test_a_limited_file_links_to_its_rest(api, store) -> None:
    """With a limit, a file is one page; its headers have the cursor, as a page of JSON has."""
    fill(store, mail(7))
    files = followed(api, "/api/messages?format=csv&limit=3")
    assert [len(file) for file in files] == [3, 3, 1]


@pytest.mark.parametrize("path", ["/api/messages", "/api/suppressions", "/api/campaigns"])
def test_a_page_is_as_long_as_an_answer_may_be(services, serve, store, path) -> None:
    """Where an answer is bounded, a page of JSON is shorter, and its cursors lose and repeat nothing."""
    fill(
        store,
        [
            complaint(f"p{n:02}@example.org", message=f"m{n:02}", campaign=f"c{n:02}")
            for n in range(60)
        ],
    )
    whole = serve(services).get(f"{path}?limit=500").json()["data"]
    client = serve(replace(services, answer_bytes=9_000))
    pages = [client.get(f"{path}?limit=500").json()]
    while pages[-1]["nextCursor"] is not None:
        cursor = pages[-1]["nextCursor"]
        answer = client.get(f"{path}?limit=500&cursor={cursor}")
        assert len(answer.content) < 9_000
        pages.append(answer.json())
    assert len(pages) > 2
    assert [row for page in pages for row in page["data"]] == whole


def test_a_person_has_as_many_records_as_an_answer(services, serve, store) -> None:
    """The records of a person are those that fit, and `nextCursor` goes on with the others."""
    fill(store, [opened("ana@example.org", message=f"m{n:02}") for n in range(60)])
    client = serve(replace(services, answer_bytes=9_000))
    person = client.post("/api/recipients/lookup", json={"address": "ana@example.org"}).json()
    assert 0 < len(person["data"]) < 60
    path = f"/api/messages?recipient={person['recipientId']}"
    rest = serve(services).get(f"{path}&cursor={person['nextCursor']}").json()["data"]
    assert len(person["data"]) + len(rest) == 60
