from __future__ import annotations

import json
from pathlib import Path

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
