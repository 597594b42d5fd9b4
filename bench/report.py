"""The report: the table for people, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path

from bench.cost import Cost
from bench.figure import Figure
from bench.machine import Machine
from bench.sample import Sample

_HEADINGS = ("", "ours", "p50/p99 ms", "against", "theirs", "p50/p99 ms", "ratio", "lowest-highest", "target", "")
_LEFT = (0, 3, 8, 9)
_COST_HEADINGS = ("", "time", "peak memory", "longest stall here", "in another process", "busy")
_COST_LEFT = (0,)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that one run found."""

    machine: Machine
    """Where it ran."""
    command: str
    """What was typed."""
    seconds: float
    """How long it took."""
    figures: Sequence[Figure]
    """The lines of the table."""
    costs: Sequence[Cost] = field(default_factory=list)
    """The lines of the second table."""
    skipped: Sequence[str] = field(default_factory=list)
    """What could not be measured, and why."""

    def table(self) -> str:
        """Everything as text."""
        lines = self._machine_lines()
        lines += _table(_HEADINGS, _LEFT, [(figure.section, _cells(figure)) for figure in self.figures])
        lines += _table(_COST_HEADINGS, _COST_LEFT, [(cost.section, _cost_cells(cost)) for cost in self.costs])
        lines += [f"\nskipped: {reason}" for reason in self.skipped]
        asked = [figure for figure in self.figures if figure.met is not None]
        missed = sum(not figure.met for figure in asked)
        lines += ["", f"{missed} of {len(asked)} targets missed; {self.seconds:.0f} s: {self.command}"]
        return "\n".join(lines)

    def _machine_lines(self) -> list[str]:
        machine = self.machine
        return [
            f"{machine.cpu}, {machine.cores} cores, load {machine.load} at the start; {machine.system}",
            f"fdatasync p50 {_short(machine.fdatasync_p50)} ms, p99 {_short(machine.fdatasync_p99)} ms",
            f"Python {machine.python}, SQLite {machine.sqlite}, {machine.server}",
        ]

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        content = asdict(self)
        for figure, written in zip(self.figures, content["figures"], strict=True):
            written["met"] = figure.met
        path.write_text(json.dumps(content, indent=2) + "\n")


def _table(headings: Sequence[str], left: Sequence[int], rows: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Lines under headings, those of each section under its name; nothing where there are none."""
    if not rows:
        return []
    widths = [
        max(len(cells[column]) for cells in (headings, *(row for _, row in rows))) for column in range(len(headings))
    ]
    lines = ["", _line(headings, widths, left)]
    for section, found in groupby(rows, key=lambda row: row[0]):
        lines += ["", section, *(_line(cells, widths, left) for _, cells in found)]
    return lines


def _cost_cells(cost: Cost) -> tuple[str, ...]:
    return (
        f"  {cost.name}",
        f"{cost.seconds:.1f} s",
        f"{cost.peak:.0f} MB",
        f"{cost.stall_here:.2f} s",
        f"{cost.stall_there:.2f} s",
        str(cost.refused),
    )


def _cells(figure: Figure) -> tuple[str, ...]:
    comparison = "≤" if figure.at_most else "≥"
    target = "" if figure.target is None else f"{comparison} {figure.target:g}{'' if figure.met else '  MISSED'}"
    return (
        f"  {figure.name}",
        _rate(figure.ours, figure.unit),
        _latency(figure.ours),
        figure.against,
        _rate(figure.theirs, figure.unit),
        _latency(figure.theirs),
        f"{figure.ratio:.2f}",
        f"{figure.lowest:.2f}-{figure.highest:.2f}",
        target,
        figure.note,
    )


def _rate(sample: Sample, unit: str) -> str:
    failed = f" ({sample.errors} failed)" if sample.errors else ""
    return f"{sample.rate:,.0f} {unit}{failed}"


def _latency(sample: Sample) -> str:
    return "" if sample.p50 is None else f"{_short(sample.p50)}/{_short(sample.p99)}"


def _short(milliseconds: float | None) -> str:
    return "?" if milliseconds is None else f"{milliseconds:.3g}" if milliseconds < 100 else f"{milliseconds:.0f}"  # noqa: PLR2004 - three digits


def _line(cells: Sequence[str], widths: Sequence[int], left: Sequence[int]) -> str:
    aligned = [
        cell.ljust(width) if column in left else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()
