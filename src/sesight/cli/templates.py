"""templates: what mail is made of, checked and looked at before anybody gets it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sesight import private_file
from sesight.cli.options import ConfigOption, JsonOption
from sesight.domain.errors import SettingsError

if TYPE_CHECKING:
    from sesight.domain.template import TemplateIssue
    from sesight.send.templates.folder import TemplateFolder

templates = typer.Typer(
    help="Check and look at templates, and push them to SES.", no_args_is_help=True
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The template's name.")]
NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]…", help="Only these; all of them if absent.")
]


def _found(config: str | None) -> TemplateFolder:
    from sesight.app import templates_of
    from sesight.cli.session import load_settings

    return templates_of(load_settings(config, None))


def _named(found: TemplateFolder, names: list[str] | None) -> list[str]:
    """Return the names that are asked for, all if none is. Raises SettingsError if there is none."""
    wanted = names or found.names()
    if not wanted:
        raise SettingsError(
            f"There is no template in {found.folder}: sesight templates init brings two."
        )
    return wanted


@templates.command("list")
def list_templates(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List templates."""
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import print_json

    found = _found(config)
    about = found.about()
    if as_json:
        print_json(msgspec.json.encode({"data": about}))
        return
    _ = _named(found, None)
    columns = [
        output.Column("Name", wraps=16),
        output.Column("Label", 1, wraps=16),
        output.Column("Stream", 2),
        output.Column("Language", 3),
        output.Column("Findings", wraps=12),
    ]
    rows = [
        [
            output.plain_text(each.name),
            output.plain_text(each.label),
            output.plain_text(each.stream),
            output.plain_text(each.language),
            _counted(each.findings),
        ]
        for each in about
    ]
    output.console().print(output.table(columns, rows))


def _counted(findings: tuple[TemplateIssue, ...]) -> str:
    errors = sum(each.level == "error" for each in findings)
    told = [(errors, "error"), (len(findings) - errors, "warning")]
    return ", ".join(f"{n} {word}{'s' if n > 1 else ''}" for n, word in told if n) or "none"


@templates.command()
def check(
    names: NamesArgument = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Check templates with their samples. Ends with 1 if one could not be sent."""
    import msgspec

    from sesight.cli import output
    from sesight.cli.session import print_json

    found = _found(config)
    findings = {name: found.check(name) for name in _named(found, names)}
    wrong = any(each.level == "error" for told in findings.values() for each in told)
    if as_json:
        print_json(msgspec.json.encode({"ok": not wrong, "findings": findings}))
    elif any(findings.values()):
        columns = [
            output.Column("Template", wraps=16),
            output.Column("Level"),
            output.Column("Finding", wraps=24),
        ]
        rows = [
            [output.plain_text(name), each.level, output.plain_text(each.text)]
            for name, told in findings.items()
            for each in told
        ]
        output.console().print(output.table(columns, rows))
    else:
        print(f"Nothing is wrong with {', '.join(findings)}.")
    if wrong:
        raise typer.Exit(1)


@templates.command()
def preview(
    name: NameArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where the page goes; else NAME.html here."),
    ] = None,
    context: Annotated[
        Path | None,
        typer.Option("--context", metavar="FILE", help="JSON to use instead of the sample."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a page that shows what a template makes; it loads and runs nothing."""
    import msgspec

    from sesight.cli.session import print_json
    from sesight.send.templates.preview import preview as page

    found = _found(config)
    made = found.rendered(name, None if context is None else _context(context))
    if as_json:
        print_json(msgspec.json.encode(made))
        return
    file = out or Path(f"{name}.html")
    text = page(name, found.load(name).files.label, made, found.check(name))
    try:
        private_file.write(file, text.encode())
    except OSError as error:
        raise SettingsError(f"The preview cannot be written: {error}.") from None
    print(f"Open {file} in a browser.")


def _context(file: Path) -> dict[str, object]:
    import msgspec

    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, object])
    except OSError as error:
        raise SettingsError(f"The context cannot be read: {error}.") from None
    except msgspec.DecodeError as error:
        raise SettingsError(f"{file} is no JSON object: {error}.") from None


@templates.command()
def push(
    names: NamesArgument = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create or update SES's copies of the templates that SES renders."""
    import msgspec

    from sesight.app import templates_of
    from sesight.app.aws import ses_templates
    from sesight.cli import output
    from sesight.cli.session import load_settings, print_json

    settings = load_settings(config, None)
    folder = templates_of(settings)
    # all are checked before the first is pushed, so that a mistake leaves SES as it was
    _ = _named(folder, names)
    templates = folder.for_ses(names or ())
    results: dict[str, str] = {}
    for template in templates:
        account = ses_templates(settings, template.files.settings.stream)
        results[template.name] = account.push(template, dry_run=dry_run)
    if as_json:
        print_json(msgspec.json.encode({"dryRun": dry_run, "templates": results}))
        return
    columns = [
        output.Column("Template", wraps=16),
        output.Column("Would be" if dry_run else "Was"),
    ]
    rows = [[output.plain_text(name), result] for name, result in results.items()]
    output.console().print(output.table(columns, rows))


@templates.command()
def init(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Bring two templates to begin with into the folder; what is there already stays."""
    import msgspec

    from sesight.cli.session import print_json
    from sesight.send.templates.folder import copy_examples

    found = _found(config)
    brought = copy_examples(found)
    if as_json:
        print_json(msgspec.json.encode({"folder": str(found.folder), "templates": brought}))
        return
    if not brought:
        print(f"Both are in {found.folder} already.", file=sys.stderr)
        return
    print(
        f"Now in {found.folder}: {', '.join(brought)}. Look at one: sesight templates preview "
        f"{brought[0]}"
    )
