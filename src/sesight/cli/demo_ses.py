"""The demo's postbox: a simulated SES for mail that a person sends, and all that it takes to send."""

from __future__ import annotations

import datetime as dt
import json
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sesight import private_file
from sesight.domain.errors import SettingsError
from sesight.domain.stream import FINANCE, OUTREACH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesight.settings import Settings
    from sesight_simulator.ses.events import SesEvent
    from sesight_simulator.ses.simulated_ses import SimulatedSes

TEMPLATE = "spring-launch"
PEOPLE = "people.csv"
CONTEXT = f"{TEMPLATE}.json"
STATEMENTS = "statements.csv"
MAIL = "mail"
KEYS = "unsubscribe-keys.json"

KEPT = 1_000
"""Messages kept as files; older ones go."""

NAMES = (
    "Ana", "Ben", "David", "Elif", "Farah", "Hana", "Kofi", "Lena", "Marco", "Noah", "Omar", "Ned",
)  # fmt: skip
"""Whom the demo knows. What becomes of mail to them is decided by their addresses, and varied."""

LINES = """\
statement,recipient,name,currency,locale,label,quantity,unit_price,amount,total
PS-0417,ana@example.org,Ana Bell,EUR,en-IE,Sales through partner links,412,3.00,1236.00,1211.50
PS-0417,,,,,Transfer fee,,,-24.50,
PS-0418,ben@example.org,Ben Ode,EUR,de-DE,Sales through partner links,96,3.00,288.00,288.00
PS-0419,kofi@example.org,Kofi Mensah,EUR,en-IE,Sales through partner links,20,3.00,60.00,65.00
"""
"""Statements, of which the last does not add up."""


@contextmanager
def postbox(folder: Path, settings: Settings, intake: str) -> Iterator[SimulatedSes]:
    """Run a simulated SES that takes mail of all streams and tells intake (a URL) what becomes of it.

    Each message it takes is a file in the folder's `mail`.
    """
    from sesight.cli.simulate import signer
    from sesight_simulator.ses.simulated_ses import realistic_ses

    mail = folder / MAIL

    def told(event: SesEvent) -> None:
        if event.event_type == "Send":
            _keep(mail, event.message_id, ses.message(event.message_id).raw)

    sets = tuple(each.configuration_set for each in settings.streams)
    ses = realistic_ses(intake, signer(folder), configuration_sets=sets, on_event=told)
    with ses:
        yield ses


def _keep(mail: Path, message_id: str, raw: bytes) -> None:
    """Write a message's file, whose name begins with its time; remove the oldest beyond `KEPT`."""
    private_file.write(mail / f"{message_id}.eml", raw)
    held = sorted(mail.glob("*.eml"))
    for old in held[:-KEPT]:
        old.unlink(missing_ok=True)


def stock(folder: Path) -> None:
    """Make what a person needs to send: people and statements where there are none yet, and what the
    template is told, which goes with the template that this Sesight has.
    """
    from sesight.send.templates.folder import EXAMPLES

    people, statements = folder / PEOPLE, folder / STATEMENTS
    try:
        private_file.make_folder(folder / MAIL)
        if not people.exists():
            rows = "".join(f"{each.lower()}@example.org,{each}\n" for each in NAMES)
            private_file.write(people, f"email,first_name\n{rows}".encode())
        if not statements.exists():
            private_file.write(statements, LINES.encode())
        context = json.loads((EXAMPLES / TEMPLATE / "sample.json").read_bytes())
        del context["first_name"]  # each person's own
        text = json.dumps(context, indent=2, ensure_ascii=False)
        private_file.write(folder / CONTEXT, f"{text}\n".encode())
    except OSError as error:
        raise SettingsError(f"{folder} cannot be written to: {error}.") from None


def section(folder: Path, endpoint: str, public_url: str) -> str:
    """Return the part of the settings that is about sending, as TOML: to SES at `endpoint`, with
    unsubscribe links to the server at `public_url`.
    """
    from sesight.send.templates.folder import EXAMPLES

    keys = _keys(folder)

    def text(value: object) -> str:
        return json.dumps(str(value), ensure_ascii=False)

    def sender(stream: str, address: str, name: str) -> str:
        return (
            f"\n[[sending.senders]]\nstream = {text(stream)}\nfrom_address = {text(address)}\n"
            f"from_name = {text(name)}\npublic_url = {text(public_url)}\n"
            'postal_address = "Example Harbour, 1 Quay Street, Harbourtown"\n'
            f"unsubscribe_keys = {{ demo = {text(keys[stream])} }}\n"
        )

    return (
        "\n# An SES of the demo's own, while it runs.\n"
        f"[sending]\nendpoint = {text(endpoint)}\n"
        f"templates = {text(EXAMPLES)}\n"
        + sender(OUTREACH.id, "news@example.com", "Example Harbour")
        + sender(FINANCE.id, "statements@example.com", "Example Harbour Finance")
    )


def _keys(folder: Path) -> dict[str, str]:
    """Return the key of each stream's unsubscribe links, made at the first start: links keep on
    working.
    """
    file = folder / KEYS
    try:
        if not file.exists():
            made = {stream: secrets.token_hex(32) for stream in (OUTREACH.id, FINANCE.id)}
            private_file.write(file, json.dumps(made).encode())
        return msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError(f"The demo's keys in {file} cannot be had: {error}.") from None


def words(folder: Path, command: str) -> list[str]:
    """Return what a person is told: how to send, and where to see what became of it."""
    from shlex import quote

    def at(name: str) -> str:
        return quote(str(folder / name))

    config = f"--config {at('sesight.toml')}"
    last_month = dt.datetime.now(dt.UTC).replace(day=1) - dt.timedelta(days=1)
    return [
        "Send something! A simulated SES takes it, and nothing leaves this machine. In another window:",
        f"  {command} send outreach {config} \\",
        f"    --template {TEMPLATE} --campaign hello --to {at(PEOPLE)} --context {at(CONTEXT)}",
        "In half a minute it has arrived, and some of it has been opened and clicked:",
        f"  {command} tracking {config} --stream outreach --campaign hello",
        "Statements go with a PDF; one of these does not add up, and is not sent:",
        f"  {command} send finance {config} \\",
        f"    --month {last_month:%Y-%m} --statements {at(STATEMENTS)}",
        f"The messages themselves are in {at(MAIL)}. The unsubscribe links in them work.",
    ]
