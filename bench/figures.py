"""Figures: measurements with their floors and targets, shown as a table and written as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.table import Table


@dataclass
class Figure:
    """One measurement. `floor` is the best that this machine can do, measured in the same run and unit;
    `target` must be reached, or not be exceeded if `is_maximum`.
    """

    name: str
    value: float
    unit: str
    floor: float | None = None
    floor_name: str = ""
    target: float | None = None
    is_maximum: bool = False
    note: str = ""

    @property
    def reached(self) -> bool | None:
        if self.target is None:
            return None
        return self.value <= self.target if self.is_maximum else self.value >= self.target


@dataclass
class Report:
    """The figures of one run."""

    figures: list[Figure] = field(default_factory=list)

    def add(self, *figures: Figure) -> None:
        self.figures.extend(figures)
        for figure in figures:
            Console().print(_line(figure), highlight=False)

    def show(self) -> None:
        table = Table(title="Sesight, measured", title_justify="left")
        for head, justify in (
            ("measure", "left"), ("value", "right"), ("floor", "right"), ("of floor", "right"),
            ("target", "right"), ("", "left"),
        ):  # fmt: skip
            table.add_column(head, justify=justify)
        for figure in self.figures:
            table.add_row(*_cells(figure))
        Console(width=150).print(table)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps([asdict(figure) for figure in self.figures], indent=1))


def _line(figure: Figure) -> str:
    return "  ".join(cell for cell in _cells(figure) if cell)


def _cells(figure: Figure) -> list[str]:
    ratio = floor = target = mark = ""
    if figure.floor:
        floor = f"{figure.floor:,.4g} ({figure.floor_name})"
        ratio = f"{figure.value / figure.floor:.3g}x"
    if figure.target is not None:
        target = f"{'≤' if figure.is_maximum else '≥'} {figure.target:,.4g}"
        mark = "reached" if figure.reached else "NOT reached"
    return [
        figure.name,
        f"{figure.value:,.4g} {figure.unit}",
        floor,
        ratio,
        target,
        f"{mark} {figure.note}".strip(),
    ]


def median_seconds(run: Callable[[], object], times: int = 5) -> float:
    """Return the median wall time of a call, seconds."""
    seconds = []
    for _ in range(times):
        started = perf_counter()
        run()
        seconds.append(perf_counter() - started)
    return statistics.median(seconds)
