"""A restore while other processes use the database: nothing that they were told is stored is lost."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from storage.transfer.backup import backup_to
from storage.transfer.restore import restore
from tests.integration.storage_backup.files import safety_copies, values
from tests.integration.storage_backup.plant import Plant
from tests.serving import PATIENCE

WRITTEN = "SELECT name FROM user WHERE name LIKE 'writer %'"


class Writer:
    """A process that keeps writing, and what it was told is stored."""

    def __init__(self, path: Path, project: Path) -> None:
        command = [sys.executable, "-m", "tests.integration.storage_backup.writer", f"sqlite:///{path}"]
        self._process = subprocess.Popen(command, cwd=project, text=True, stdout=subprocess.PIPE)
        self.stored: list[str] = []
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def wait_for(self, more: int) -> None:
        """Wait until it was told of some more."""
        with self._more:
            count = len(self.stored) + more
            assert self._more.wait_for(lambda: len(self.stored) >= count, PATIENCE)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._thread.join(PATIENCE)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._more:
                    self.stored.append(line.strip())
                    self._more.notify_all()


@pytest.mark.torture
def test_another_process_keeps_writing_and_loses_nothing_it_was_told(
    plant: Plant, path: Path, tmp_path: Path, project: Path, in_full: bool
) -> None:
    plant.users.insert_many([plant.user(name="x" * 500, email="") for _ in range(2000)])
    backup, _ = backup_to(tmp_path / "backup.sqlite")
    writers = [Writer(path, project) for _ in range(2)]
    kept: set[str] = set()
    try:
        for writer in writers:
            writer.wait_for(20)
        for _ in range(30 if in_full else 3):
            restored = restore(backup)
            assert restored.safety_copy is not None
            kept |= {f"{name}" for name in values(restored.safety_copy, WRITTEN)}
            for writer in writers:
                writer.wait_for(20)
    finally:
        for writer in writers:
            writer.stop()

    in_use = values(path, WRITTEN)
    assert len(in_use) >= 40
    assert {name for writer in writers for name in writer.stored} <= kept | set(in_use)
    assert values(path, "PRAGMA integrity_check") == ["ok"]
    assert [values(copy, "PRAGMA integrity_check") for copy in safety_copies(path)] == [["ok"]] * 3


@pytest.mark.torture
def test_two_processes_that_restore_at_once_follow_each_other(
    plant: Plant, path: Path, tmp_path: Path, project: Path, in_full: bool
) -> None:
    plant.add_user("Ada")
    first, _ = backup_to(tmp_path / "first.sqlite")
    plant.add_user("Bob")
    second, _ = backup_to(tmp_path / "second.sqlite")
    times = 40 if in_full else 4
    command = [sys.executable, "-m", "tests.integration.storage_backup.restorer", f"sqlite:///{path}"]
    processes = [
        subprocess.Popen([*command, str(backup), str(times)], cwd=project, text=True, stdout=subprocess.PIPE)
        for backup in (first, second)
    ]
    told = [process.communicate(timeout=PATIENCE * 10)[0].split() for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    assert [len(lines) for lines in told] == [times, times]
    assert all("restored" in lines for lines in told)
    assert plant.names() in (["Ada"], ["Ada", "Bob"])
    assert values(path, "SELECT count(*) FROM auditlog WHERE operation = 'restore'") == [1]
    assert values(path, "PRAGMA integrity_check") == ["ok"]
    assert [values(copy, "PRAGMA integrity_check") for copy in safety_copies(path)] == [["ok"]] * 3
