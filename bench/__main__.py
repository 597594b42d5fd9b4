"""Measures, prints one table and writes it as JSON: `python -m bench [--quick] [section …]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bench.cost import Cost
from bench.figure import Figure
from bench.machine import describe
from bench.plan import Plan, full, quick
from bench.report import Report
from bench.sections import accessor, commits, growth, rpc, transfer
from bench.skipped import Skipped

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "bench" / "results.json"
SECTIONS: Mapping[str, Callable[[Plan], Iterator[Figure | Cost | Skipped]]] = {
    "accessor": accessor.measure,
    "commits": commits.measure,
    "rpc": rpc.measure,
    "growth": growth.measure,
    "transfer": transfer.measure,
}
UNLESS_TOLD = [name for name in SECTIONS if name != "transfer"]
"""What is measured unless told otherwise: transfers of a whole database take five minutes by themselves."""


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure, each figure next to an alternative.")
    parser.add_argument(
        "sections",
        nargs="*",
        metavar="section",
        help=f"{', '.join(SECTIONS)}; all but transfer, which takes five minutes, unless told otherwise",
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, about a minute")
    parser.add_argument("--directory", type=Path, default=PROJECT, help="a folder on the disk to measure")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=arguments.directory, ignore_cleanup_errors=True) as folder:
        plan = (quick if arguments.quick else full)(Path(folder))
        report = _measure(plan, arguments.sections or UNLESS_TOLD)
    report.write(RESULTS)
    print(report.table())


def _measure(plan: Plan, sections: list[str]) -> Report:
    started, machine = time.monotonic(), describe(plan.directory)
    figures: list[Figure] = []
    costs: list[Cost] = []
    skipped: list[str] = []
    for section in sections:
        for found in SECTIONS[section](plan):
            if isinstance(found, Skipped):
                skipped.append(found.reason)
            elif isinstance(found, Cost):
                costs.append(found)
            else:
                figures.append(found)
            print(
                f"\r{section}: {len(figures) + len(costs)} figures, {time.monotonic() - started:.0f} s ",
                end="",
                file=sys.stderr,
            )
    print(file=sys.stderr)
    return Report(
        machine=machine,
        command=" ".join(["python -m bench", *sys.argv[1:]]),
        seconds=time.monotonic() - started,
        figures=figures,
        costs=costs,
        skipped=skipped,
    )


if __name__ == "__main__":
    main()
