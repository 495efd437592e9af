"""send: mail to many, with a rehearsal before and a list of results after."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sesight import private_file
from sesight.cli.options import ConfigOption, JsonOption, StoreOption
from sesight.domain.errors import InvalidRequest, SettingsError

if TYPE_CHECKING:
    from sesight.app import App
    from sesight.domain.sending import SendResult
    from sesight.send.mailing import Mailing
    from sesight.send.sender import PriorSend

send = typer.Typer(
    name="send",
    help="Send mail: each recipient gets one message, however often the command is repeated.",
    no_args_is_help=True,
)

SHOWN = 20
"""Recipients without a message that are shown; the result file has all."""

MEANINGS = {
    "sent": "SES took the message",
    "sent before": "had it before: nothing was sent now",
    "intended": "would be sent",
    "suppressed": "must not be sent to: sesight suppress check says why",
    "invalid": "cannot be sent to such as it is",
    "refused": "refused by SES",
    "throttled": "not tried, or not taken now: run the same command again",
    "unknown": "SES did not say: the Send event will tell; run the same command later, or --retry-unknown",
}
"""What each state says, to people."""

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Send nothing: show what would become of each recipient.")
]
ResultsOption = Annotated[
    str | None,
    typer.Option("--results", metavar="FILE", help="Write each recipient's result as CSV."),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help="Makes it another sending: under the same key nobody gets a second message.",
    ),
]

RetryUnknownOption = Annotated[
    bool,
    typer.Option(
        "--retry-unknown",
        help="Try those again too of whom SES did not say whether it took their message: they may get it twice.",
    ),
]


@send.command()
def outreach(
    template: Annotated[str, typer.Option("--template", metavar="NAME", help="The template.")],
    campaign: Annotated[str, typer.Option("--campaign", metavar="ID", help="The campaign.")],
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="FILE", help="CSV with a column email, or a JSON list; - reads it."
        ),
    ],
    context: Annotated[
        str | None,
        typer.Option(
            "--context", metavar="FILE", help="JSON object: what the template is told of all alike."
        ),
    ] = None,
    campaign_name: Annotated[
        str | None, typer.Option("--campaign-name", metavar="NAME", help="Its name for people.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Tag campaign_type.")
    ] = None,
    step: Annotated[
        str | None, typer.Option("--step", metavar="STEP", help="Tag campaign_step.")
    ] = None,
    variant: Annotated[
        str | None, typer.Option("--variant", metavar="VARIANT", help="Tag campaign_variant.")
    ] = None,
    key: KeyOption = None,
    retry_unknown: RetryUnknownOption = False,
    dry_run: DryRunOption = False,
    results: ResultsOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a template to the people of a file.

    Stopped by Ctrl-C or a crash, the same command goes on: it sends to those who got nothing yet. So
    does one with a longer file. Campaign, template, step and variant (or --key) tell one sending from
    another.
    """
    from sesight.cli.session import open_app
    from sesight.domain.sending import CampaignDetails, TemplateMail
    from sesight.send.recipient_file import read_context, read_recipients

    asked = TemplateMail(
        template,
        CampaignDetails(campaign, campaign_name, kind, step, variant),
        read_recipients(read_file(to)),
        read_context(read_file(context)) if context is not None else {},
    )
    with open_app(config, store, new=True) as app:
        mailing = app.sending.service.mail_command(
            "outreach", asked, key, retry_unknown=retry_unknown
        )
        carry_out(app, mailing, dry_run=dry_run, results=results, as_json=as_json)


@send.command()
def finance(
    month: Annotated[
        str, typer.Option("--month", metavar="YYYY-MM", help="The statements' month.")
    ],
    statements: Annotated[
        str,
        typer.Option(
            "--statements",
            metavar="FILE",
            help="CSV or JSON of statements (docs/reference/statements.md); - reads it.",
        ),
    ],
    template: Annotated[
        str, typer.Option("--template", metavar="NAME", help="The template.")
    ] = "payout-statement",
    campaign: Annotated[
        str | None,
        typer.Option(
            "--campaign", metavar="ID", help="The campaign, statements-YYYY-MM unless said."
        ),
    ] = None,
    currency: Annotated[
        str | None,
        typer.Option("--currency", metavar="CODE", help="Of statements that name none: EUR."),
    ] = None,
    locale: Annotated[
        str | None,
        typer.Option("--locale", metavar="LOCALE", help="Of statements that name none: de-DE."),
    ] = None,
    key: KeyOption = None,
    retry_unknown: RetryUnknownOption = False,
    dry_run: DryRunOption = False,
    results: ResultsOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send the statements of a file, each to its recipient, with its papers attached.

    Stopped by Ctrl-C or a crash, the same command goes on with those that were not sent. To send a
    statement again, give a --key: it is then an attempt of the same statement.
    """
    from sesight.cli.session import open_app
    from sesight.send.statements.files import StatementDefaults, from_csv, from_json

    defaults = StatementDefaults(month=month, currency=currency, locale=locale)
    content = read_file(statements)
    read = from_json if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"[", b"{"} else from_csv
    entries = read(content, defaults)
    with open_app(config, store, new=True) as app:
        mailing = app.sending.service.statement_command(
            "finance", entries, month, template, campaign, key, retry_unknown=retry_unknown
        )
        carry_out(app, mailing, dry_run=dry_run, results=results, as_json=as_json)


def read_file(path: str) -> bytes:
    """Return what is in a file, `-` for standard input. Raises InvalidRequest."""
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"The file {path} cannot be read: {error.strerror}.") from None


class SendProgress:
    """What is told of recipients while an order is carried out. Any thread may tell."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._lock = threading.Lock()
        self.states: Counter[str] = Counter()
        self.had_before = 0
        self.changed = 0

    def told(self, result: SendResult, past: PriorSend) -> None:
        """Count one recipient."""
        with self._lock:
            self.states["sent before" if past.had_before else result.state.value] += 1
            self.had_before += past.had_before
            self.changed += past.has_changed

    @property
    def words(self) -> str:
        """Return how many are in each state, in a line."""
        with self._lock:
            return ", ".join(f"{n:,} {state}" for state, n in self.states.items())


def carry_out(
    app: App, mailing: Mailing, *, dry_run: bool, results: str | None, as_json: bool
) -> None:
    """Send an order, or rehearse it; show what became of it. Ends with 1 where anybody got nothing
    that might have, where everybody is invalid, and where a rehearsal finds what would hold mail up.
    """
    service = app.sending.service
    if results is not None and not Path(results).parent.is_dir():
        raise SettingsError(f"There is no folder for the result file {results}.")
    if mailing.retry_unknown:
        warn_of_second_messages(app, mailing)
    tally = SendProgress()
    obstacles: list[str] = []
    if dry_run:
        found, obstacles = service.dry_run(
            mailing, lambda _, result, past: tally.told(result, past)
        )
    else:
        found = _sent(app, mailing, tally, as_json=as_json)
    if results is not None:
        write_results(Path(results), found)
    warnings = [*obstacles, *_changed(tally)]
    show(found, tally, warnings, results, as_json=as_json)
    for sentence in warnings:
        print(f"Warning: {sentence}", file=sys.stderr)
    states = {each.state.value for each in found}
    if obstacles or states & {"throttled", "unknown", "refused"} or states == {"invalid"}:
        raise typer.Exit(1)


def _changed(tally: SendProgress) -> list[str]:
    """Return a warning for those whose message would be another one now, if there are any."""
    sentence = (
        f"The template, or what it is told, has changed for {tally.changed:,} of those who had their "
        "message before, and they get no other. To send to them once more, name another --key."
    )
    return [sentence] if tally.changed else []


def warn_of_second_messages(app: App, mailing: Mailing) -> None:
    """Say what trying the unknown again may do, and to how many."""
    from sesight.domain.sending import UNRESOLVED

    progress = app.log.progress(mailing.id)
    if unknown := sum(progress.get(state, 0) for state in UNRESOLVED):
        print(
            f"Warning: up to {unknown:,} of the recipients are unknown: SES may have taken their "
            "message. --retry-unknown sends to them again, so some of them may get it twice.",
            file=sys.stderr,
        )


def _sent(app: App, mailing: Mailing, tally: SendProgress, *, as_json: bool) -> list[SendResult]:
    """Send, with a progress bar; Ctrl-C lets what is under way be told to the log, and ends."""
    from sesight.cli import output

    total = len(mailing.drafts)
    with output.progress_bar("Sending", total, shown=not as_json) as bar:

        def told(_: int, result: SendResult, past: PriorSend) -> None:
            tally.told(result, past)
            bar.update(tally.states.total(), total, tally.words)

        try:
            return app.sending.service.send(mailing, told)
        except KeyboardInterrupt:
            print(
                f"Stopped: {tally.words or 'nobody tried'} of {total:,}. The same command goes on with "
                "the rest.",
                file=sys.stderr,
            )
            raise typer.Exit(1) from None


def write_results(path: Path, found: Sequence[SendResult]) -> None:
    """Write results as CSV: recipient, state, code, detail, messageId. Raises SettingsError."""
    from msgspec import to_builtins

    from sesight.services.csv_table import csv_text

    columns = ("recipient", "state", "code", "detail", "messageId")
    try:
        private_file.write(path, csv_text(columns, map(to_builtins, found)).encode())
    except OSError as error:
        raise SettingsError(
            f"The result file {path} cannot be written: {error.strerror}."
        ) from None


def show(
    found: Sequence[SendResult],
    tally: SendProgress,
    warnings: Sequence[str],
    results: str | None,
    *,
    as_json: bool,
) -> None:
    """Print how many recipients are in each state, and some of those without a message. Who had their
    message before is told apart from who got it now.
    """
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import print_json

    counts = Counter(each.state.value for each in found)
    if as_json:
        answer = {
            "counts": dict(counts),
            "hadBefore": tally.had_before,
            "warnings": warnings,
            "results": found,
        }
        print_json(msgspec.json.encode(answer))
        return
    out = output.console()
    if tally.had_before and tally.had_before == counts["sent"] and not counts["intended"]:
        out.print(f"Nothing was sent: {tally.had_before:,} had it before.")
    columns = [
        output.Column("State"),
        output.Column("Recipients", number=True),
        output.Column("What it means", wraps=20),
    ]
    rows = [[state, f"{n:,}", MEANINGS[state]] for state, n in tally.states.most_common()]
    out.print(output.table(columns, rows))
    without = [each for each in found if each.state.value not in {"sent", "intended"}]
    if without:
        columns = [
            output.Column("Recipient", wraps=20),
            output.Column("State"),
            output.Column("Code", 1),
            output.Column("Why", wraps=20),
        ]
        details = [
            [
                output.plain_text(each.recipient),
                each.state.value,
                output.plain_text(each.code),
                output.plain_text(each.detail),
            ]
            for each in without[:SHOWN]
        ]
        out.print(output.table(columns, details))
        if len(without) > SHOWN:
            where = f"all are in {results}" if results else "--results FILE has all"
            out.print(f"… and {len(without) - SHOWN:,} more: {where}.")
