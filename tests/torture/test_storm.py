"""Every way of writing at once, slow ones among them, from two processes: nobody waits for ever, nothing is lost."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.database import DEFAULT_BUSY_TIMEOUT
from tests.torture.ledger import Ledger, count_of
from tests.torture.program import Program
from tests.torture.workshop import prepare_file

pytestmark = pytest.mark.torture

PAUSE = "0.003"


def storm(file: Path, ledger: Ledger, name: str, seconds: float) -> int:
    """Let a program work for some time; gives its exit code, once every job of it has come to an end."""
    with Program(ledger, "tests.torture.worker", f"sqlite:///{file}", name, "--pause", PAUSE) as program:
        program.listen_for("done", 1)
        program.listen_for_seconds(seconds)
        return program.end()


def test_nobody_waits_for_ever_and_the_counts_are_exact(tmp_path: Path, in_full: bool) -> None:
    for processes in (1, 2, 3) if in_full else (2,):
        outlast(processes, tmp_path / f"parts{processes}.db", seconds=20.0 if in_full else 1.0)


def outlast(processes: int, file: Path, seconds: float) -> None:
    """Let programs work on one file for some time, and look at what came of it."""
    ledger = Ledger()
    prepare_file(f"sqlite:///{file}")
    with ThreadPoolExecutor(processes) as pool:
        running = [pool.submit(storm, file, ledger, f"storm{number}", seconds) for number in range(processes)]
        assert [process.result() for process in running] == [0] * processes
    ledger.check(file)
    errors = Counter(error.split()[0] for error in ledger.failed.values())
    print(f"{processes} processes: {len(ledger.done)} jobs done, refused: {dict(errors)}")  # noqa: T201 - the figures
    assert ledger.pending == set()
    assert count_of(file) == ledger.counted()
    assert errors.keys() <= {"WriteWouldDeadlock", "DatabaseBusy"}
    waits = [float(error.split()[1]) for error in ledger.failed.values() if error.startswith("DatabaseBusy")]
    assert [wait for wait in waits if wait < 0.95 * DEFAULT_BUSY_TIMEOUT] == []
