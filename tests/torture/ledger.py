"""The ledger: what programs said that they did, against what a database says."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

from storage.dialects.sqlite_driver import DRIVER
from tests.torture.workshop import FIRST_JOB, SHARED

_INSERT = Counter({"parts create": 1, "receipts create": 1})
_UPDATE = Counter({"parts update": 1, "note": 1})
EFFECTS: dict[str, Counter[str]] = {
    "insert": _INSERT,
    "update": _UPDATE,
    "delete": Counter({"parts delete": 1}),
    "batch": Counter({"parts create": 5, "receipts create": 5}),
    "count": _UPDATE,
    "transaction": _INSERT + _INSERT + _UPDATE,
    "awaiting": _INSERT + _INSERT,
    "session": Counter({"note": 2}),
    "joined": _INSERT + Counter({"note": 1}),
}
"""What each kind of job leaves, all of it or nothing: entries of the audit trail with their records, and notes."""
_COLUMNS = ("id", "job", "revision")


class Ledger:
    """Every job that somebody set out to do, and what came of it."""

    def __init__(self) -> None:
        self.kinds = {FIRST_JOB: "insert"}
        self.done = {FIRST_JOB}
        self.failed: dict[str, str] = {}
        self.pending: set[str] = set()
        """Begun, and neither done nor failed."""
        self.port = 0
        """Where a server says that it listens."""
        self.in_hook: set[str] = set()
        self.hooked: set[str] = set()
        """Those of the pending ones of which a hook has been run."""

    def note(self, line: str) -> str:
        """Keep what a program said; gives the kind of event."""
        event, job, *rest = line.split(" ", 2)
        if event == "intend":
            self.kinds[job] = rest[0]
            self.pending.add(job)
        elif event == "enter":
            self.in_hook.add(job)
            self.hooked.add(job)
        elif event == "leave":
            self.in_hook.discard(job)
        elif event == "port":
            self.port = int(job)
        else:
            self._close(event, job, *rest)
        return event

    def _close(self, event: str, job: str, error: str = "") -> None:
        if event == "done":
            self.done.add(job)
        else:
            assert event == "failed", event
            self.failed[job] = error
        for jobs in (self.pending, self.in_hook, self.hooked):
            jobs.discard(job)

    def forget_pending(self) -> None:
        """Count what was under way as given up, since the program is dead; it is there as a whole or not at all."""
        for jobs in (self.pending, self.in_hook, self.hooked):
            jobs.clear()

    def check(self, database: Path) -> None:
        """Make sure that all of what was acknowledged is there, and nothing in halves."""
        lost = self.lost(database)
        assert not lost, f"{len(lost)} acknowledged jobs are lost: {sorted(lost)[:5]}"

    def lost(self, database: Path) -> set[str]:
        """The acknowledged jobs that are not there; makes sure that the rest is sound and nothing there in halves."""
        with closing(DRIVER.connect(str(database))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            found = _replayed(connection)
        for job, effects in found.items():
            assert job in self.kinds, f"nobody asked for {job}"
            assert effects == EFFECTS[self.kinds[job]], f"half of {job} is there, a {self.kinds[job]}: {effects}"
            assert job not in self.failed, f"{job} is there though it failed: {self.failed[job]}"
        return self.done - found.keys()

    def counted(self) -> int:
        """How many acknowledged jobs counted the shared part up."""
        return sum(self.kinds[job] == "count" for job in self.done)


def count_of(database: Path) -> int:
    """How often the shared part was counted up."""
    with closing(DRIVER.connect(str(database))) as connection:
        statement = "SELECT revision FROM torture_part WHERE id = ?"
        return int(connection.execute(statement, (SHARED,)).fetchone()[0])


def _replayed(connection: Any) -> dict[str, Counter[str]]:
    """The effects of each job; the audit trail, done again from the beginning, must lead to the records."""
    effects: defaultdict[str, Counter[str]] = defaultdict(Counter)
    records: dict[str, dict[int, Any]] = {"parts": {}, "receipts": {}}
    trail = "SELECT component, record_id, operation, actor, before, after FROM auditlog ORDER BY id"
    for component, key, operation, actor, before, after in connection.execute(trail):
        effects[actor][f"{component} {operation}"] += 1
        then = records[component].pop(key, None)
        assert then == (None if before is None else json.loads(before)), f"{component} {key}: {then}, not {before}"
        if after is not None:
            records[component][key] = json.loads(after)
    assert records["parts"] == _rows(connection, "torture_part", _COLUMNS)
    assert records["receipts"] == _rows(connection, "torture_receipt", _COLUMNS[:2])
    for (job,) in connection.execute("SELECT job FROM torture_note"):
        effects[job]["note"] += 1
    return effects


def _rows(connection: Any, table: str, columns: tuple[str, ...]) -> dict[int, dict[str, Any]]:
    rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608 - names of our own
    return {row[0]: dict(zip(columns, row, strict=True)) for row in rows}
