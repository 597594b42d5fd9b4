from __future__ import annotations

import json
from pathlib import Path

from bench.cost import Cost, worst_of
from bench.figure import compare
from bench.machine import describe
from bench.report import Report
from bench.sample import Sample


def report(folder: Path) -> Report:
    samples = [Sample(rate=50, p50=0.5, p99=2)], [Sample(rate=100)]
    figures = [
        compare("Accessor", "insert", *samples, against="raw driver", target=0.6),
        compare("Accessor", "get", *samples, against="raw driver", target=0.2),
    ]
    return Report(machine=describe(folder), command="bench", seconds=1, figures=figures, skipped=["RPC: no wrk"])


def test_the_table_tells_what_is_missed_and_what_was_skipped(tmp_path: Path) -> None:
    table = report(tmp_path).table()

    assert "≥ 0.6  MISSED" in table
    assert "1 of 2 targets missed" in table
    assert "skipped: RPC: no wrk" in table


def test_the_same_is_written_as_json(tmp_path: Path) -> None:
    report(tmp_path).write(tmp_path / "results.json")

    written = json.loads((tmp_path / "results.json").read_text())
    assert [figure["met"] for figure in written["figures"]] == [False, True]
    assert written["figures"][0]["ours"] == {"rate": 50, "p50": 0.5, "p99": 2, "errors": 0}
    assert written["machine"]["cores"] >= 1


def cost(seconds: float, peak: float, stall: float) -> Cost:
    return Cost(
        section="Transfers", name="export", seconds=seconds, peak=peak, stall_here=stall, stall_there=stall, refused=1
    )


def test_of_several_runs_the_middle_time_and_the_worst_of_all_else_count() -> None:
    assert worst_of([cost(1, 80, 0.5), cost(3, 70, 0.1), cost(2, 75, 0.2)]) == cost(2, 80, 0.5)


def test_the_costs_are_a_table_of_their_own(tmp_path: Path) -> None:
    alone = Report(machine=describe(tmp_path), command="bench", seconds=1, figures=[], costs=[cost(1.26, 80.4, 0.5)])

    lines = alone.table().splitlines()

    assert lines[lines.index("Transfers") + 1].split() == [
        "export",
        "1.3",
        "s",
        "80",
        "MB",
        "0.50",
        "s",
        "0.50",
        "s",
        "1",
    ]
    assert not any("against" in line for line in lines)
    alone.write(tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text())["costs"][0]["peak"] == 80.4
