"""An office that sends: the app over a store of its own, its mail going to a simulated SES."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from sesight.app import App, now_ms
from sesight.app.sending import SendingComponents
from sesight.domain.record import Record
from sesight.domain.sending import CampaignDetails, SendResult, SendState, TemplateRecipient
from sesight.domain.template import RenderedTemplate
from sesight.ingest.reader import read
from sesight.send import outreach
from sesight.send.mailing import Mailing
from sesight.send.message import Unsendable
from sesight.settings import Settings
from sesight_simulator.ses.simulated_ses import SimulatedSes

EXAMPLES = Path(outreach.__file__).parent / "templates" / "examples"
KEYS = {"k1": "11" * 32}
SPRING = CampaignDetails(id="spring", name="Spring is here")


class Letter:
    """A template without a folder."""

    name = "letter"

    def __init__(self, version: str = "1") -> None:
        self.version = version

    def body(self, context: Mapping[str, Any]) -> RenderedTemplate:
        if "lacking" in context["email"]:
            raise Unsendable("template", "The template needs a name.")
        return RenderedTemplate(
            f"Hello {context.get('name', '')}",
            f"<p>Hello {context.get('name', '')}</p>"
            f'<a ses:no-track href="{context["unsubscribe_url"]}">Unsubscribe</a>',
            f"Hello {context.get('name', '')}\n{context['unsubscribe_url']}",
        )


class Office:
    """What the tests of sending do, over one app and one SES."""

    def __init__(self, app: App, ses: SimulatedSes) -> None:
        self.app = app
        self.ses = ses

    def order(
        self,
        addresses: Sequence[str | TemplateRecipient],
        id_: str = "batch-1",
        *,
        stream: str = "outreach",
        campaign: CampaignDetails = SPRING,
        resumed: bool = False,
        retry_unknown: bool = False,
        same: bool = False,
    ) -> Mailing:
        """Return an order; `same`: another list of people is the same one, as for a command."""
        drafts = outreach.drafts(
            [
                each if isinstance(each, TemplateRecipient) else TemplateRecipient(email=each)
                for each in addresses
            ],
            campaign,
            Letter(),
            self.app.sending.message_defaults(stream),
            {},
            lambda data: sha256(data).hexdigest(),
        )
        return Mailing(
            id=id_,
            kind="request",
            stream=stream,
            campaign=campaign.id,
            fingerprint=repr(campaign if same else (addresses, campaign)),
            drafts=drafts,
            resumed=resumed,
            retry_unknown=retry_unknown,
        )

    def send(
        self, addresses: Sequence[str | TemplateRecipient], id_: str = "batch-1", **more: Any
    ) -> list[SendResult]:
        stream = more.get("stream", "outreach")
        return self.app.sending.sender(stream).send(self.order(addresses, id_, **more))

    def take_events(self) -> None:
        """Take in everything that SES has published so far."""
        readings = [reading for event in self.ses.events() for reading in read(event.body, "sns")]
        self.app.pipeline.process(readings)

    def record(self, message_id: str | None) -> Record:
        """Return the one record of a message."""
        assert message_id is not None
        (record,) = self.app.store.message(message_id, self.app.clock())
        return record


@contextlib.contextmanager
def office(
    folder: Path,
    ses: SimulatedSes,
    clock: Callable[[], int] = now_ms,
    *,
    url: str | None = None,
    pause: float = 0.02,
    streams: Sequence[Mapping[str, Any]] = (),
    **sending: Any,
) -> Iterator[Office]:
    """Open an office; `sending` are settings of that section, `url` is of its store, `pause` how long it
    waits first after SES throttled or failed, `streams` are in place of the two there are.
    """
    sender = {
        "public_url": "https://mail.example.com",
        "postal_address": "1 Example Street, Example City",
        "unsubscribe_keys": KEYS,
    }
    settings = msgspec.convert(
        {
            "region": "eu-west-1",
            "store": {"url": url or f"sqlite:///{folder / 'office.db'}"},
            **({"recipient_key": "07" * 32} if url else {}),
            **({"streams": streams} if streams else {}),
            "sending": {
                "endpoint": ses.url,
                "senders": [
                    {
                        "stream": "outreach",
                        "from_address": "news@example.com",
                        "from_name": "Example News",
                        **sender,
                    },
                    {"stream": "finance", "from_address": "pay@example.com", **sender},
                ],
                **sending,
            },
        },
        Settings,
    )
    app = App(settings, clock=clock)
    app.sending = SendingComponents(app, pause=pause)
    try:
        yield Office(app, ses)
    finally:
        app.close()


def states(results: Sequence[SendResult]) -> list[SendState]:
    """Return the states of results, in their order."""
    return [each.state for each in results]
