"""Delivers notifications over HTTP as SNS does, on keep-alive connections."""

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from urllib.parse import urlsplit

import msgspec

_NO_ANSWER = (ConnectionError, asyncio.IncompleteReadError, TimeoutError, OSError)


class _NotificationHeader(msgspec.Struct, rename="pascal"):
    """The fields of a notification that SNS repeats as HTTP headers."""

    type: str
    message_id: str
    topic_arn: str


class PostResult(msgspec.Struct, kw_only=True, rename="camel"):
    """How many notifications were accepted, and how fast."""

    statuses: dict[int, int]
    """Answers by HTTP status, including retries."""
    accepted: int = 0
    """Notifications answered 2xx."""
    refused: int = 0
    """Notifications answered 3xx or 4xx, which SNS does not send again."""
    lost: int = 0
    """Notifications given up after all retries."""
    retries: int = 0
    seconds: float = 0.0
    latencies_ms: list[float] = []
    """Of each answer, from the first byte of its request, sorted."""

    def quantile(self, share: float) -> float | None:
        """Return the latency (ms) that `share` of the answers did not exceed."""
        if not self.latencies_ms:
            return None
        return self.latencies_ms[
            min(len(self.latencies_ms) - 1, int(share * len(self.latencies_ms)))
        ]


class SnsClient:
    """Posts to one URL over `connections` connections, one request at a time on each.

    Like SNS it gives up on a try after 15 seconds. It waits `retry_ms` before a retry unless the answer has
    Retry-After.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080/api/ses/events",
        connections: int = 8,
        *,
        retries: int = 50,
        retry_ms: int = 200,
        timeout_ms: int = 15_000,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"only http:// URLs are supported, not {url}")
        self.host = parts.hostname
        self.port = parts.port or 80
        self.path = parts.path + (f"?{parts.query}" if parts.query else "")
        self.connections = connections
        self.retries = retries
        self.retry_s = retry_ms / 1000
        self.timeout_s = timeout_ms / 1000

    def run(self, notifications: Iterable[bytes]) -> PostResult:
        """Post all notifications from synchronous code."""
        return asyncio.run(self.post(notifications))

    async def post(
        self,
        notifications: Iterable[bytes] | AsyncIterator[bytes],
        on_done: Callable[[int | None], None] = lambda _: None,
    ) -> PostResult:
        """Post each notification (JSON); retry after a 5xx or a broken connection.

        `on_done` receives the last status of each, None where it was given up.
        """
        result = PostResult(statuses={})
        statuses: Counter[int] = Counter()
        latencies = array("d")
        begin = time.perf_counter()
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(self.connections * 2)
        workers = [
            asyncio.ensure_future(self._work(queue, result, statuses, latencies, on_done))
            for _ in range(self.connections)
        ]
        try:
            if isinstance(notifications, AsyncIterator):
                async for notification in notifications:
                    await queue.put(notification)
            else:
                for notification in notifications:
                    await queue.put(notification)
            for _ in workers:
                await queue.put(None)
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
        result.seconds = time.perf_counter() - begin
        result.statuses = dict(sorted(statuses.items()))
        result.latencies_ms = sorted(latencies)
        return result

    async def _work(
        self,
        queue: asyncio.Queue[bytes | None],
        result: PostResult,
        statuses: Counter[int],
        latencies: "array[float]",
        on_done: Callable[[int | None], None],
    ) -> None:
        connection = _Connection(self.host, self.port)
        try:
            while (notification := await queue.get()) is not None:
                request = self._request(notification)
                for attempt in range(self.retries + 1):
                    result.retries += attempt > 0
                    begin = time.perf_counter()
                    wait = self.retry_s
                    try:
                        async with asyncio.timeout(self.timeout_s):
                            status, after = await connection.request(request)
                    except _NO_ANSWER:
                        connection.close()
                        await asyncio.sleep(wait)
                        continue
                    latencies.append((time.perf_counter() - begin) * 1000)
                    statuses[status] += 1
                    if status < 500:
                        result.accepted += status < 300
                        result.refused += status >= 300
                        on_done(status)
                        break
                    await asyncio.sleep(wait if after is None else after)
                else:
                    result.lost += 1
                    on_done(None)
        finally:
            connection.close()

    def _request(self, notification: bytes) -> bytes:
        head = msgspec.json.decode(notification, type=_NotificationHeader)
        lines = (
            f"POST {self.path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            f"x-amz-sns-message-type: {head.type}",
            f"x-amz-sns-message-id: {head.message_id}",
            f"x-amz-sns-topic-arn: {head.topic_arn}",
            "Content-Type: text/plain; charset=UTF-8",
            "User-Agent: Amazon Simple Notification Service Agent",
            f"Content-Length: {len(notification)}",
            "\r\n",
        )
        return "\r\n".join(lines).encode() + notification


class _Connection:
    """One keep-alive connection, opened on the first request."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def request(self, request: bytes) -> tuple[int, float | None]:
        """Send a request; return the status and the Retry-After (seconds) of its answer."""
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        if fields.get("transfer-encoding", "").lower() == "chunked":
            await self._read_chunks(self._reader)
        else:
            await self._reader.readexactly(int(fields.get("content-length", "0")))
        if fields.get("connection", "").lower() == "close":
            self.close()
        after = fields.get("retry-after", "")
        return int(status_line.split()[1]), float(after) if after.isdigit() else None

    @staticmethod
    async def _read_chunks(reader: asyncio.StreamReader) -> None:
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
