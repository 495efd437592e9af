"""The page of an unsubscribe link, and the one-click POST of its button and of mailbox providers (RFC 8058)."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from email.parser import BytesParser
from hashlib import sha256
from html import escape
from typing import Annotated, Any, NamedTuple
from urllib.parse import parse_qsl

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter

from sesight.api.parameters import InjectedServices
from sesight.api.problem import PROBLEMS
from sesight.domain.errors import InvalidRequest, NotFound, SesightError, StoreUnavailable
from sesight.domain.stream import Stream
from sesight.domain.suppression.item import SuppressionScope
from sesight.domain.unsubscribe import UnsubscribeTarget
from sesight.services import Services
from sesight.services.unsubscribe import UnsubscribeService

PATH = "/unsubscribe/{token:str}"

BODY_LIMIT = 4_096
"""The most bytes of a body: that of RFC 8058 has 26, or about 200 as multipart."""

_FIELD, _VALUE = "List-Unsubscribe", "One-Click"

Token = Annotated[str, PathParameter(description="The last part of the link in the message.")]


# Litestar wraps a handler once for each handler of its path, so neither of the two may run in its threads.


@get(PATH, media_type="text/html", operation_id="unsubscribe_page")
async def unsubscribe_page(
    request: Request[Any, Any, Any], token: Token, services: InjectedServices
) -> Response[str]:
    """A page that asks whether to unsubscribe. It changes nothing, because scanners open every link."""
    try:
        return await asyncio.to_thread(_asked, token, services)
    except SesightError as error:
        return _failed(request, error)


def _asked(token: str, services: Services) -> Response[str]:
    unsubscribing = _unsubscribing(services)
    target, stream, sender = unsubscribing.read(token)
    try:
        left = unsubscribing.is_unsubscribed(target)
    except StoreUnavailable:
        left = False  # if the store is still unavailable, the button will say so
    what = _mail(stream, sender, services)
    return _already(target, what) if left else _question(target, what)


@post(
    PATH,
    media_type="text/html",
    status_code=200,
    request_max_body_size=BODY_LIMIT,
    operation_id="unsubscribe",
)
async def unsubscribe(
    request: Request[Any, Any, Any], token: Token, services: InjectedServices
) -> Response[str]:
    """Unsubscribe the address that the link was sent to. Mailbox providers post `List-Unsubscribe=One-Click` for
    their own button, and the page for its. A repeated request gets the same answer.
    """
    try:
        unsubscribing = _unsubscribing(services)
        target, stream, sender = await asyncio.to_thread(unsubscribing.read, token)
        if not is_one_click(await request.body(), request.headers.get("content-type", "")):
            raise InvalidRequest(f"The body is not {_FIELD}={_VALUE} (RFC 8058).")
        await unsubscribing.unsubscribe(target)
    except SesightError as error:
        return _failed(request, error)
    return _done(target, _mail(stream, sender, services))


ROUTES: list[HTTPRouteHandler] = [unsubscribe_page, unsubscribe]
"""The routes of the API on the public listener."""


def is_one_click(body: bytes, content_type: str) -> bool:
    """Return whether a form, URL-encoded or multipart, is `List-Unsubscribe=One-Click`."""
    fields: list[tuple[object, str]]
    if content_type.strip().lower().startswith("multipart/form-data"):
        head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
        fields = [
            (part.get_param("name", header="content-disposition"), str(part.get_payload()))
            for part in BytesParser().parsebytes(head + body).walk()
            if not part.is_multipart()
        ]
    else:
        fields = [*parse_qsl(body.decode("latin-1").strip())]
    return [(name, value.strip()) for name, value in fields] == [(_FIELD, _VALUE)]


def _unsubscribing(services: Services) -> UnsubscribeService:
    if services.unsubscribing is None:
        raise NotFound("There are no unsubscribe links here.")
    return services.unsubscribing


class _Mail(NamedTuple):
    """The mail that a link unsubscribes from: its name, and the words of a sentence as HTML."""

    name: str
    words: str


def _mail(stream: Stream, sender: str, services: Services) -> _Mail:
    """Return the mail that a link of a stream unsubscribes from."""
    name, words = stream.label, f"“{escape(stream.label)}” mail"
    scope = services.policy.unsubscribed
    if scope == SuppressionScope.ALL:
        name, words = "all mail", "mail"
    elif scope == SuppressionScope.MARKETING and stream.marketing:
        name, words = "all marketing mail", "marketing mail"
    elif scope == SuppressionScope.MARKETING:
        name, words = f"{name} and all marketing mail", f"{words} and marketing mail"
    return _Mail(name, f"{words} from <b>{escape(sender)}</b>")


def _address(target: UnsubscribeTarget) -> str:
    return f"<b>{escape(target.masked)}</b>"


# The pages


_STYLE = """
:root { color-scheme: light dark; --paper: #f4f5f7; --card: #fff; --ink: #1b1f24; --soft: #57606a;
  --line: #d8dce1; --act: #0b5cad; --on-act: #fff; --ring: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --paper: #0f1216; --card: #191d23; --ink: #eceff3;
  --soft: #a3acb8; --line: #2d333b; --act: #6cb0ff; --on-act: #08121f; --ring: #9ccaff; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; min-height: 100dvh; display: grid; place-items: center;
  padding: 1.25rem; background: var(--paper); color: var(--ink);
  font: 1.0625rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { width: 100%; max-width: 29rem; padding: 2rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .75rem; overflow-wrap: anywhere; }
h1 { margin: 0 0 .75rem; font-size: 1.5rem; line-height: 1.25; text-wrap: balance; }
p { margin: 0 0 1rem; }
.soft { color: var(--soft); font-size: .9375rem; }
main > :last-child { margin-bottom: 0; }
button { width: 100%; min-height: 3rem; margin: .5rem 0 1rem; padding: .75rem 1.25rem; border: 0;
  border-radius: .5rem; background: var(--act); color: var(--on-act); font: inherit;
  font-weight: 600; cursor: pointer; }
button:hover { filter: brightness(1.08); }
button:focus-visible { outline: 3px solid var(--ring); outline-offset: 3px; }
@media (max-width: 30rem) { body { padding: .75rem; place-items: start center; }
  main { padding: 1.5rem; } h1 { font-size: 1.375rem; } }
@media (forced-colors: active) { button { border: 2px solid; } }
"""

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
        f"style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
    ),
    "x-robots-tag": "noindex, nofollow",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}

_BUTTON = (
    f'<form method="post"><input type="hidden" name="{_FIELD}" value="{_VALUE}">'
    "<button>{}</button></form>"
)


def _page(heading: str, *parts: str, status: int = 200, **headers: str) -> Response[str]:
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex, nofollow">'
        f"<title>{escape(heading)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(heading)}</h1>{''.join(parts)}</main></body></html>"
    )
    return Response(
        text, status_code=status, media_type="text/html", headers={**_HEADERS, **headers}
    )


def _question(target: UnsubscribeTarget, what: _Mail) -> Response[str]:
    return _page(
        f"Unsubscribe from {what.name}?",
        f"<p>Press the button to stop getting {what.words} at {_address(target)}.</p>",
        _BUTTON.format("Unsubscribe"),
        '<p class="soft">Nothing has changed yet. If you opened this by mistake, close the page.</p>',
    )


def _done(target: UnsubscribeTarget, what: _Mail) -> Response[str]:
    return _page(
        f"You are unsubscribed from {what.name}",
        f"<p>You will no longer get {what.words} at {_address(target)}.</p>",
        '<p class="soft">A message that was on its way already may still arrive. '
        "You can close this page.</p>",
    )


def _already(target: UnsubscribeTarget, what: _Mail) -> Response[str]:
    return _page(
        f"You are already unsubscribed from {what.name}",
        f"<p>You no longer get {what.words} at {_address(target)}.</p>",
        '<p class="soft">There is nothing left to do. You can close this page.</p>',
    )


def _failed(request: Request[Any, Any, Any], error: SesightError) -> Response[str]:
    """Return a page with the error; raise it for clients that do not accept HTML."""
    if "text/html" not in request.headers.get("accept", ""):
        raise error
    if isinstance(error, NotFound):
        return _page(
            "This link does not work",
            f"<p>{escape(str(error))}</p>",
            '<p class="soft">If it still does not work, answer the message and ask to be taken off '
            "the list.</p>",
            status=PROBLEMS["not-found"][0],
        )
    if isinstance(error, StoreUnavailable):
        return _page(
            "That did not work just now",
            "<p>You are not unsubscribed yet. The fault is ours: please try again in a minute.</p>",
            _BUTTON.format("Try again"),
            status=PROBLEMS["unavailable"][0],
            **{"retry-after": str(StoreUnavailable.retry_after)},
        )
    return _page(
        "That did not work",
        "<p>You are not unsubscribed yet: the form that came was not this page’s own. "
        "Open the link from the message again.</p>",
        status=PROBLEMS["invalid-request"][0],
    )
