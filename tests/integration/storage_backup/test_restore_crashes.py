"""Restores that are killed leave the database as it was, or the restored one, whole."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.bootstrap import bootstrap
from storage.database import set_database_url
from storage.transfer.backup import backup_to
from storage.transfer.restore import restore
from tests.integration.storage_backup.files import left_over, safety_copies, values
from tests.integration.storage_backup.plant import Plant

SEED = 20261123
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
        for path in self.database.parent.iterdir():
            if not path.is_dir():
                path.unlink()
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
def crasher(ground: Ground, project: Path) -> Iterator[Callable[[str], int]]:
    command = [sys.executable, "-m", "tests.integration.storage_backup.crasher"]
    command += [str(ground.database), str(ground.backup)]
    with subprocess.Popen(command, cwd=project, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:

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


@pytest.mark.torture
def test_a_restore_killed_at_any_of_its_steps_leaves_old_or_new(
    declared: Plant, tmp_path: Path, project: Path, in_full: bool
) -> None:
    ground = make_ground(declared, tmp_path, users=100)
    outcomes: list[str] = []
    stride, number = (1, 1) if in_full else (17, 1 + SEED % 17)
    with crasher(ground, project) as restore_killed:
        while True:
            ground.reset()
            ended = restore_killed(f"steps {number}")
            outcomes.append(ground.outcome())
            if ended != signal.SIGKILL:
                break
            come_through(ground)
            number += stride

    assert ended == 0
    changed = outcomes.index("new")
    assert outcomes == ["old"] * changed + ["new"] * (len(outcomes) - changed)
    assert changed > 100 / stride
    assert len(outcomes) - changed > 1


@pytest.mark.torture
def test_a_restore_killed_at_any_moment_leaves_old_or_new(
    declared: Plant, tmp_path: Path, project: Path, in_full: bool
) -> None:
    ground = make_ground(declared, tmp_path, users=5000)
    chance, longest = random.Random(SEED), 0.0  # noqa: S311 - no secret
    outcomes: list[str] = []
    with crasher(ground, project) as restore_killed:
        for _ in range(2):  # the first one also waits for the interpreter
            ground.reset()
            started = time.monotonic()
            assert restore_killed("never 0") == 0
            longest = time.monotonic() - started
        count = 120 if in_full else 12
        for part in range(count):
            ground.reset()
            restore_killed(f"after {(part + chance.random()) / count * longest}")
            outcomes.append(ground.outcome())
            come_through(ground)

    assert "old" in outcomes
