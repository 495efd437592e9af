"""The poster: delivers notifications over HTTP as SNS does, on keep-alive connections."""

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from urllib.parse import urlsplit

import msgspec

_ARRIVED_LATE = (ConnectionError, asyncio.IncompleteReadError, TimeoutError, OSError)


class _Head(msgspec.Struct, rename="pascal"):
    """What of a notification goes into headers too."""

    type: str
    message_id: str
    topic_arn: str


class Posted(msgspec.Struct, kw_only=True, rename="camel"):
    """What became of the notifications posted."""

    statuses: dict[int, int]
    """Answers by HTTP status, those of retries too."""
    accepted: int = 0
    """Notifications answered 2xx."""
    refused: int = 0
    """Notifications answered 3xx or 4xx, which SNS does not send again."""
    lost: int = 0
    """Notifications given up after all retries."""
    retries: int = 0
    seconds: float = 0.0
    latencies_ms: list[float] = []
    """Of each answer, from the request's first byte, sorted."""

    def quantile(self, share: float) -> float | None:
        """The latency (ms) that `share` of the answers did not exceed."""
        if not self.latencies_ms:
            return None
        return self.latencies_ms[
            min(len(self.latencies_ms) - 1, int(share * len(self.latencies_ms)))
        ]


class Poster:
    """Posts to one URL over `connections` connections, each one request at a time."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080/api/ses/events",
        connections: int = 8,
        *,
        retries: int = 50,
        retry_ms: int = 200,
        timeout_ms: int = 15_000,
    ) -> None:
        """SNS gives up after 15 s a try; `retry_ms` waits where a 503 names no Retry-After."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"the poster speaks plain http only, not {url}")
        self.host = parts.hostname
        self.port = parts.port or 80
        self.path = parts.path + (f"?{parts.query}" if parts.query else "")
        self.connections = connections
        self.retries = retries
        self.retry_s = retry_ms / 1000
        self.timeout_s = timeout_ms / 1000

    def run(self, notifications: Iterable[bytes]) -> Posted:
        """Post all of them from a program that is not asynchronous."""
        return asyncio.run(self.post(notifications))

    async def post(
        self,
        notifications: Iterable[bytes] | AsyncIterator[bytes],
        done: Callable[[int | None], None] = lambda _: None,
    ) -> Posted:
        """Post each notification (JSON of SNS) once, again on 5xx and on broken connections.

        `done` is told the last status of each, None where it was given up.
        """
        posted = Posted(statuses={})
        statuses: Counter[int] = Counter()
        latencies = array("d")
        begin = time.perf_counter()
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(self.connections * 2)
        workers = [
            asyncio.ensure_future(self._work(queue, posted, statuses, latencies, done))
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
        posted.seconds = time.perf_counter() - begin
        posted.statuses = dict(sorted(statuses.items()))
        posted.latencies_ms = sorted(latencies)
        return posted

    async def _work(
        self,
        queue: asyncio.Queue[bytes | None],
        posted: Posted,
        statuses: Counter[int],
        latencies: "array[float]",
        done: Callable[[int | None], None],
    ) -> None:
        line = _Connection(self.host, self.port)
        try:
            while (notification := await queue.get()) is not None:
                request = self._request(notification)
                for attempt in range(self.retries + 1):
                    posted.retries += attempt > 0
                    begin = time.perf_counter()
                    wait = self.retry_s
                    try:
                        async with asyncio.timeout(self.timeout_s):
                            status, after = await line.ask(request)
                    except _ARRIVED_LATE:
                        line.close()
                        await asyncio.sleep(wait)
                        continue
                    latencies.append((time.perf_counter() - begin) * 1000)
                    statuses[status] += 1
                    if status < 500:
                        posted.accepted += status < 300
                        posted.refused += status >= 300
                        done(status)
                        break
                    await asyncio.sleep(wait if after is None else after)
                else:
                    posted.lost += 1
                    done(None)
        finally:
            line.close()

    def _request(self, notification: bytes) -> bytes:
        head = msgspec.json.decode(notification, type=_Head)
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
    """One keep-alive connection, opened when it is needed."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> tuple[int, float | None]:
        """(status, Retry-After in seconds) of the answer to a request."""
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
            await self._chunks(self._reader)
        else:
            await self._reader.readexactly(int(fields.get("content-length", "0")))
        if fields.get("connection", "").lower() == "close":
            self.close()
        after = fields.get("retry-after", "")
        return int(status_line.split()[1]), float(after) if after.isdigit() else None

    @staticmethod
    async def _chunks(reader: asyncio.StreamReader) -> None:
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")

    def close(self) -> None:
        """Let go of the connection; the next question opens another."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
