"""Requests to the API within the process of a test, without a server."""

import asyncio
from typing import Any
from urllib.parse import urlencode


def ask(
    api: Any,
    path: str,
    query: dict[str, Any] | None = None,
    *,
    body: bytes | None = None,
    key: str | None = None,
) -> tuple[int, bytes]:
    """Return status and body of an answer; with a body (JSON) it is a POST, perhaps with an idempotency key."""
    return asyncio.run(_ask(api, path, query or {}, body, key))


async def _ask(
    api: Any, path: str, query: dict[str, Any], content: bytes | None, key: str | None
) -> tuple[int, bytes]:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET" if content is None else "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": urlencode(query).encode(),
        "root_path": "",
        "headers": [
            (b"host", b"localhost"),
            (b"accept", b"application/json"),
            *([] if content is None else [(b"content-type", b"application/json")]),
            *([] if key is None else [(b"idempotency-key", key.encode())]),
        ],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    status, body = 500, b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content or b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, body
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            body += message.get("body", b"")

    await api(scope, receive, send)
    return status, body
