"""simulate: realistic traffic with its true totals, as a file or as signed notifications."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sesight import private_file
from sesight.cli.options import ConfigOption, JsonOption, StoreOption
from sesight.domain.errors import InvalidRequest, SettingsError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sesight_simulator.sns import Signer
    from sesight_simulator.traffic.plan import Plan
    from sesight_simulator.traffic.truth import Truth

CERTIFICATE = "simulator.pem"
SIGNING_KEY = "simulator-key.pem"


def simulate(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="File to write, gzip if it ends in .gz; the truth goes to FILE.truth.json.",
            show_default=False,
        ),
    ] = None,
    post: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Post signed notifications there instead of to a file."),
    ] = None,
    keys: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where key and certificate are kept, or made.")
    ] = Path(),
    truth_file: Annotated[
        Path | None, typer.Option("--truth", metavar="FILE", help="Where --post writes the truth.")
    ] = None,
    messages: Annotated[int, typer.Option(min=0, help="Messages sent, 2.6 events each.")] = 10_000,
    days: Annotated[int, typer.Option(min=1, help="Days over which they are sent.")] = 90,
    campaigns: Annotated[
        int | None, typer.Option(min=1, help="Campaigns.", show_default="by size")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed and end give the same traffic.")] = 1,
    end: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="The instant it ends at.", show_default="now"),
    ] = None,
    duplicates: Annotated[
        float, typer.Option(min=0, max=1, help="Share of events that come twice.")
    ] = 0.01,
    disorder: Annotated[
        float, typer.Option(min=0, max=1, help="Share of events that come late.")
    ] = 0.02,
    ambiguous: Annotated[
        float, typer.Option(min=0, max=1, help="Share of people whose open no rule can tell.")
    ] = 0.01,
    sns: Annotated[
        bool, typer.Option("--sns", help="Wrap each event of a file in an SNS notification.")
    ] = False,
    connections: Annotated[int, typer.Option(min=1, max=256, help="Connections to post on.")] = 8,
    config: ConfigOption = None,  # noqa: ARG001 - every command takes it
    store: StoreOption = None,  # noqa: ARG001 - every command takes it
    as_json: JsonOption = False,
) -> None:
    """Make up traffic whose true totals are known: write it to a file, or post it to a server."""
    from sesight_simulator.traffic.plan import Plan, now_ms

    if (file is None) == (post is None):
        raise InvalidRequest("Name a FILE to write, or --post URL, one of both.")
    plan = Plan(
        seed=seed,
        end=now_ms() if end is None else _instant(end),
        days=days,
        messages=messages,
        campaigns=campaigns,
        duplicates=duplicates,
        disorder=disorder,
        ambiguous=ambiguous,
        wrapping="sns" if sns else "event",
    )
    if file is not None:
        _write(plan, file, as_json=as_json)
    elif post is not None:
        _post(plan, post, signer(keys, told=True), truth_file, connections, as_json=as_json)


def _instant(text: str) -> int:
    from sesight.domain.timestamps import parse_timestamp

    found = parse_timestamp(text)
    if found is None:
        raise InvalidRequest(f"--end {text!r} is no instant: write 2026-11-24T09:00:00Z.")
    return found[0]


def signer(folder: Path, *, told: bool = False) -> Signer:
    """Return the signer of a folder's key and certificate, made if they are not there."""
    from sesight_simulator.sns import TOPIC_ARN, Signer

    new = not (folder / SIGNING_KEY).exists()
    try:
        private_file.make_folder(folder)
        found = Signer.load_or_create(folder / CERTIFICATE, folder / SIGNING_KEY)
    except (OSError, TypeError, ValueError) as error:
        raise SettingsError(
            f"The simulator's key in {folder} cannot be had: {error}. A damaged one may be removed with its "
            "certificate: both are made anew."
        ) from None
    if new and told:
        print(
            f"Made the certificate {folder / CERTIFICATE}. A server takes its notifications with\n"
            f'  [[topics]]\n  arn = "{TOPIC_ARN}"\n'
            f'  certificate_file = "{(folder / CERTIFICATE).absolute()}"',
            file=sys.stderr,
        )
    return found


def _write(plan: Plan, file: Path, *, as_json: bool) -> None:
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import interruptible, print_json
    from sesight_simulator.traffic.recording import write

    span = plan.end - plan.begin
    try:
        with (
            interruptible(f"Stopped. {file} is not whole."),
            output.progress_bar("Simulating", span, shown=not as_json) as bar,
        ):
            written = write(
                plan,
                file,
                lambda events, at: bar.update(at - plan.begin, status=f"{events:,} events"),
            )
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error}.") from None
    if as_json:
        print_json(
            msgspec.json.encode(
                {
                    "path": str(file),
                    "truth": f"{file}.truth.json",
                    "events": written.events,
                    "bytes": written.bytes,
                    "seconds": round(written.seconds, 3),
                }
            )
        )
        return
    print(
        f"{output.plural(written.events, 'event')} in {file}, their true totals in {file}.truth.json."
    )


def _post(
    plan: Plan, url: str, by: Signer, truth_file: Path | None, connections: int, *, as_json: bool
) -> None:
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import interruptible, print_json
    from sesight_simulator.sns_client import SnsClient
    from sesight_simulator.traffic.truth import Truth

    try:
        client = SnsClient(url, connections, retries=25)
    except ValueError as error:
        raise InvalidRequest(f"--post: {error}.") from None
    truth = Truth()
    with (
        interruptible(
            "Stopped. What was answered is taken; posting it again counts nothing twice."
        ),
        output.progress_bar("Posting", plan.end - plan.begin, shown=not as_json) as bar,
    ):
        posted = client.run(
            _notifications(
                plan, by, truth, lambda n, at: bar.update(at - plan.begin, status=f"{n:,} events")
            )
        )
    if truth_file is not None:
        private_file.write(truth_file, msgspec.json.encode(truth.document()))
    if as_json:
        shares = {name: posted.quantile(share) for name, share in (("p50", 0.5), ("p99", 0.99))}
        print_json(
            msgspec.json.encode(
                {
                    "accepted": posted.accepted,
                    "refused": posted.refused,
                    "lost": posted.lost,
                    "retries": posted.retries,
                    "statuses": {str(status): n for status, n in posted.statuses.items()},
                    "seconds": round(posted.seconds, 3),
                    "latencyMs": shares,
                }
            )
        )
    else:
        rate = posted.accepted / posted.seconds if posted.seconds else 0.0
        print(
            f"{output.plural(posted.accepted, 'notification')} taken in {posted.seconds:,.1f} s, {rate:,.0f} a "
            f"second; {posted.refused:,} refused, {posted.lost:,} lost, {posted.retries:,} retries."
        )
    if posted.lost and not posted.accepted:
        raise StoreUnavailable(f"Nobody takes notifications at {url}: is the server running?")
    if posted.refused:
        print(
            "Refused ones were not trusted: do the server's [[topics]] name this certificate?",
            file=sys.stderr,
        )
    if posted.refused or posted.lost:
        raise typer.Exit(1)


def _notifications(
    plan: Plan, by: Signer, truth: Truth, progress: Callable[[int, int], None]
) -> Iterator[bytes]:
    from sesight_simulator.traffic.traffic import generate

    for n, event in enumerate(generate(plan, truth), start=1):
        if n % 200 == 0:
            progress(n, event.at)
        yield by.sign(event.body)
