"""One transfer of a whole database, in a process of its own: `python -m bench.transfers FOLDER WORK`.

It is started by `bench.sections.transfer` and prints what it found as JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlmodel import JSON, Field, SQLModel

from bench.contenders.product import NOWHERE, open_database
from bench.part import Part
from storage.accessor import ModelAccessor
from storage.database import set_database_url
from storage.errors import DatabaseBusy
from storage.transfer.archive_export import export_archive
from storage.transfer.archive_import import import_archive
from storage.transfer.backup import backup_to
from storage.transfer.restore import restore

_BATCH = 1000
_PAUSE = 0.005  # seconds between two writes of a writer, as a machine has them that is busy
_BAD = 0.02  # of the measurements
_FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


class Measurement(SQLModel, table=True):
    """What was measured of a part."""

    id: int | None = Field(default=None, primary_key=True)
    part_id: int = Field(foreign_key="part.id")
    taken_at: datetime
    value: float
    passed: bool
    operator: str
    details: dict[str, Any] | None = Field(default=None, sa_type=JSON)


class Beat(SQLModel, table=True):
    """What the writers write, who are there to be kept waiting."""

    id: int | None = Field(default=None, primary_key=True)
    number: int


PARTS, MEASUREMENTS = ModelAccessor(Part, "parts"), ModelAccessor(Measurement, "measurements")
BEATS = ModelAccessor(Beat, "beats")
SERVED = (PARTS, MEASUREMENTS)


class Writer:
    """Writes one audited record after the other, and notes the longest time that one of them took.

    A write that is answered "busy" is tried again, and its time goes on.
    """

    def __init__(self) -> None:
        self._longest = 0.0
        self._refused = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def start(self) -> None:
        """Begin to write."""
        BEATS.insert(Beat(number=0))  # the first write of an accessor looks at the trail
        self._thread.start()

    def stop(self) -> None:
        """End after the write that is under way."""
        self._end.set()
        self._thread.join()

    def found(self) -> Mapping[str, float]:
        """What it noted: the longest write in seconds, and how often one was refused."""
        return {"longest": self._longest, "refused": self._refused}

    def _write(self) -> None:
        while not self._end.wait(_PAUSE):
            started, written = time.perf_counter(), False
            while not written:
                try:
                    BEATS.insert(Beat(number=1))
                    written = True
                except DatabaseBusy:
                    self._refused += 1
            self._longest = max(self._longest, time.perf_counter() - started)


def build(folder: Path, megabytes: int) -> None:
    """Make a database of a size, its archive and its backup."""
    file, chance, records = folder / "base.db", random.Random(1), 0  # noqa: S311 - the same records each time
    open_database(file)
    while file.stat().st_size < megabytes * 1_000_000:
        parts = PARTS.insert_many([_part(chance) for _ in range(_BATCH)], actor="line 4")
        MEASUREMENTS.insert_many([_measured(chance.choice(parts), chance) for _ in range(_BATCH)], actor="line 4")
        records += 2 * _BATCH
    export_archive(folder / "base.zip", SERVED)
    backup_to(folder / "base.sqlite")
    set_database_url(NOWHERE)
    print(json.dumps({"records": records, "megabytes": file.stat().st_size / 1e6}))


def run(folder: Path, work: str) -> None:
    """Do one of the transfers while a thread writes."""
    writer = Writer()
    open_database(folder / "live.db")
    writer.start()
    started = time.perf_counter()
    WORKS[work](folder)
    seconds = time.perf_counter() - started
    writer.stop()
    set_database_url(NOWHERE)
    print(json.dumps({"seconds": seconds, "peak": _peak(), **writer.found()}))


def write(folder: Path) -> None:
    """Write until there is nothing more to read."""
    writer = Writer()
    open_database(folder / "live.db")
    writer.start()
    print("writing", flush=True)
    sys.stdin.read()
    writer.stop()
    set_database_url(NOWHERE)
    print(json.dumps(writer.found()))


WORKS: Mapping[str, Callable[[Path], object]] = {
    "export": lambda folder: export_archive(folder / "made.zip", SERVED),
    "import": lambda folder: import_archive(folder / "base.zip", SERVED),
    "dry run": lambda folder: import_archive(folder / "base.zip", SERVED, dry_run=True),
    "backup": lambda folder: backup_to(folder / "made.sqlite"),
    "restore": lambda folder: restore(folder / "base.sqlite"),
}
"""What is measured, by name."""


def _peak() -> float:
    """The most memory that this process had at once, in MB."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def _part(chance: random.Random) -> Part:
    number = chance.randrange(10**6)
    return Part(name=f"gripper finger {number}", supplier="Precision Parts Ltd.", quantity=number % 100)


def _measured(part: Part, chance: random.Random) -> Measurement:
    assert part.id is not None  # noqa: S101 - it is stored
    return Measurement(
        part_id=part.id,
        taken_at=_FIRST_DAY + timedelta(seconds=chance.randrange(10**7)),
        value=chance.gauss(12.5, 0.2),
        passed=chance.random() > _BAD,
        operator=chance.choice(["ana", "maria", "joão"]),
        details={"tool": chance.randrange(9), "note": "", "points": [round(chance.random(), 4) for _ in range(3)]},
    )


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.transfers")
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", choices=["build", "write", *WORKS])
    parser.add_argument("--megabytes", type=int, default=200)
    arguments = parser.parse_args()
    if arguments.work == "build":
        build(arguments.folder, arguments.megabytes)
    elif arguments.work == "write":
        write(arguments.folder)
    else:
        run(arguments.folder, arguments.work)


if __name__ == "__main__":
    main()
