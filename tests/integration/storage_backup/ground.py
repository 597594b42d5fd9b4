"""A database that restores and backups are killed over, and what must be there afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from storage.bootstrap import bootstrap
from storage.database import set_database_url
from storage.transfer.backup import backup_to
from storage.transfer.restore import restore
from tests.integration.storage_backup.files import left_over, safety_copies, values
from tests.integration.storage_backup.plant import Plant

NAMES = "SELECT name FROM user ORDER BY id"
RESTORES = "SELECT count(*) FROM auditlog WHERE component = 'database' AND operation = 'restore'"


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A database, a backup of it that differs, and what is in both."""

    database: Path
    backup: Path
    original: Path
    old: list[str]
    new: list[str]

    def reset(self) -> None:
        """Put the database back to what it was."""
        shutil.rmtree(self.database.parent)
        self.database.parent.mkdir()
        shutil.copy(self.original, self.database)

    def outcome(self) -> str:
        """Whether the old database or the new one is there; fails unless it is exactly one of them, and whole."""
        assert values(self.database, "PRAGMA integrity_check") == ["ok"]
        found, restores = values(self.database, NAMES), values(self.database, RESTORES)
        for copy in safety_copies(self.database):
            assert values(copy, "PRAGMA integrity_check") == ["ok"]
            assert values(copy, NAMES) == self.old
        if restores == [0]:
            assert found == self.old
            return "old"
        assert restores == [1]
        assert found == self.new
        assert len(safety_copies(self.database)) == 1
        return "new"


def make_ground(plant: Plant, folder: Path, users: int) -> Ground:
    """Make a database with so many users, back it up, and add half as many."""
    database = folder / "crash" / "plant.db"
    database.parent.mkdir()
    bootstrap(database_url=f"sqlite:///{database}")
    plant.users.insert_many([plant.user(name=f"{n} " * 50, email="") for n in range(users)])
    backup, _ = backup_to(folder / "backup.sqlite")
    plant.users.insert_many([plant.user(name=f"later {n} " * 50, email="") for n in range(users // 2)])
    original, _ = backup_to(folder / "original.sqlite")
    set_database_url("sqlite://")
    old, new = values(original, NAMES), values(backup, NAMES)
    return Ground(database=database, backup=backup, original=original, old=old, new=new)


@contextmanager
def crasher(ground: Ground, project: Path, **environment: str) -> Iterator[Callable[[str], int]]:
    """A process that is told how a restore or a backup is to be killed, and answers with the signal."""
    command = [sys.executable, "-m", "tests.integration.storage_backup.crasher"]
    command += [str(ground.database), str(ground.backup)]
    with subprocess.Popen(
        command,
        cwd=project,
        env={**os.environ, **environment},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:

        def tell(line: str) -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        try:
            yield tell
        finally:
            process.kill()


def come_through(ground: Ground) -> None:
    """The next restore succeeds, and clears away what the killed one left."""
    bootstrap(database_url=f"sqlite:///{ground.database}")
    restore(ground.backup)
    set_database_url("sqlite://")
    assert values(ground.database, NAMES) == ground.new
    assert left_over(ground.database.parent) == []
