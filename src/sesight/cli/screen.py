"""What people see: tables, progress bars, and numbers as people write them."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from sesight.domain.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOTHING = "—"
"""What stands where there is no value."""

PIPE_WIDTH = 240
"""Columns of a table that no terminal shows."""


def screen() -> Console:
    """Return where tables are printed."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def aside() -> Console:
    """Return where progress is shown: beside what is printed."""
    return Console(stderr=True, highlight=False)


class Bar:
    """One progress bar. Without a total it only shows that something goes on."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        """Keep the bar's place."""
        self._progress = progress
        self._task = task

    def at(self, done: float, total: float | None = None, told: str = "") -> None:
        """Show how far it is, and a few words."""
        self._progress.update(self._task, completed=done, told=told)
        if total is not None:
            self._progress.update(self._task, total=total)


@contextmanager
def bar(what: str, total: float | None = None, *, shown: bool = True) -> Iterator[Bar]:
    """Show a progress bar while something is done, if anybody looks."""
    console = aside()
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    )
    with progress:
        yield Bar(progress, progress.add_task(what, total=total, told=""))


def table(*columns: str, title: str | None = None, numbers: tuple[str, ...] = ()) -> Table:
    """Return a table; the columns in `numbers` are set to the right. Nothing is ever cut off."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def plain(text: object) -> Text:
    """Return text from outside, in which no markup is read; control characters are shown."""
    written = NOTHING if text is None else str(text)
    return Text(printable(written))


def number(value: int | None, *, at_least: bool = False) -> str:
    """Write a count: thousands apart, `≥` before what is a lower bound."""
    if value is None:
        return NOTHING
    return f"{'≥ ' if at_least else ''}{value:,}"


def rate(found: Mapping[str, Any] | None, between: str = " · ") -> str:
    """Write a rate as a share and as n of m; a dash where nothing can be said."""
    if found is None or found["value"] is None:
        return NOTHING
    share = found["value"] * 100
    digits = 2 if 0 < share < 1 else 1
    return f"{found['numerator']:,} of {found['denominator']:,}{between}{share:.{digits}f} %"


def moment(text: str | None) -> str:
    """Write a time of an answer to the minute."""
    return NOTHING if text is None else f"{text[:10]} {text[11:16]}"


def counted(n: int, noun: str) -> str:
    """Write how many there are of something: 1 topic, 2 topics, 2 bodies."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{n:,} {noun if n == 1 else many}"


def size(count: float) -> str:
    """Write bytes."""
    for unit in ("bytes", "KB", "MB"):
        if count < 1_000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1_000
    return f"{count:,.1f} GB"
