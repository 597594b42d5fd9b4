"""Export, import, backup and restore of a whole database while others write to it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.cost import Cost, worst_of
from bench.plan import Plan
from bench.skipped import Skipped

_LONGEST = 600
_PROGRAM = (sys.executable, "-m", "bench.transfers")
_WORKS = {  # what it is called, what is done, and whether it meets the database that the archive is of, or an empty one
    "export": ("export", True),
    "import into an empty database": ("import", False),
    "import of what is there already": ("import", True),
    "dry run of an import into an empty database": ("dry run", False),
    "backup": ("backup", True),
    "restore": ("restore", True),
}


def measure(plan: Plan) -> Iterator[Cost | Skipped]:
    """Measure each with a writer in the same process and one in another."""
    if not sys.platform.startswith("linux"):
        yield Skipped("transfers of a whole database: how much memory they need can be read on Linux only")
        return
    folder = plan.directory / "transfer"
    folder.mkdir()
    made = _finished("build", folder, "--megabytes", str(plan.megabytes))
    section = f"Transfers of a database of {made['megabytes']:.0f} MB, {made['records']:,} records, audited, FULL"
    for name, (work, filled) in _WORKS.items():
        yield worst_of([_measure(section, name, folder, work, filled=filled) for _ in range(plan.load_rounds)])
    shutil.rmtree(folder)


def _measure(section: str, name: str, folder: Path, work: str, *, filled: bool) -> Cost:
    for left in [*folder.glob("live.db*"), *folder.glob("made.*")]:
        left.unlink()
    if filled:
        shutil.copyfile(folder / "base.db", folder / "live.db")
    command = [*_PROGRAM, str(folder), "write"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as rival:
        assert rival.stdout is not None  # noqa: S101 - it is a pipe
        rival.stdout.readline()  # it writes
        done = _finished(work, folder)
        there = json.loads(rival.communicate(timeout=_LONGEST)[0])
    return Cost(
        section=section,
        name=name,
        seconds=done["seconds"],
        peak=done["peak"],
        stall_here=done["longest"],
        stall_there=there["longest"],
        refused=done["refused"] + there["refused"],
    )


def _finished(work: str, folder: Path, *more: str) -> Mapping[str, Any]:
    command = [*_PROGRAM, str(folder), work, *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=_LONGEST)
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found
