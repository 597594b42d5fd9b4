"""Disks that are full or cannot be written: nothing is lost, nothing half-done stays."""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from storage.bootstrap import bootstrap
from storage.database import get_engine, set_database_url, transaction
from storage.errors import DatabaseUnavailable
from storage.health import Status, check_health
from storage.transfer.archive_export import export_archive
from storage.transfer.archive_import import import_archive
from storage.transfer.backup import backup_in_memory, backup_to
from storage.transfer.restore import restore
from tests.conftest import require
from tests.integration.storage_backup.files import change, left_over, safety_copies, values
from tests.integration.storage_backup.plant import Plant

MIB = 1 << 20


@contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """Mount a small disk; it takes root."""
    root = "root" if os.geteuid() == 0 else None
    require(root, "root, who may mount a small disk,")
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    require("mounted" if done.returncode == 0 else None, f"a mount ({done.stderr.strip()})")
    try:
        yield
    finally:
        set_database_url("sqlite://")
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MiB."""
    place = tmp_path / "disk"
    with mounted(place, "size=16m"):
        yield place


def fill(disk: Path, leave: int) -> None:
    """Fill the disk but for some bytes."""
    (disk / "filler.db").unlink(missing_ok=True)
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler.db").write_bytes(bytes(max(0, free - leave)))


@pytest.fixture
def small(declared: Plant, disk: Path, tmp_path: Path) -> Plant:
    """The application with a database of about 2 MiB on the disk."""
    bootstrap(database_url=f"sqlite:///{disk}/plant.db")
    declared.users.insert_many([declared.user(name="x" * 400, email="") for _ in range(2000)])
    return declared


@pytest.mark.parametrize("leave", [0, 64 << 10, MIB, 2 * MIB, 4 * MIB, 5 * MIB, 6 * MIB])
def test_a_restore_on_a_disk_that_gets_full_leaves_the_database_as_it_was(
    small: Plant, disk: Path, tmp_path: Path, leave: int
) -> None:
    backup, _ = backup_to(tmp_path / "backup.sqlite")
    small.add_user("Ada")
    fill(disk, leave)

    with pytest.raises(DatabaseUnavailable, match=r"full|no space left"):
        restore(backup)

    assert len(small.names()) == 2001
    assert left_over(disk) == []
    assert safety_copies(disk / "plant.db") == []
    (disk / "filler.db").unlink()
    assert values(disk / "plant.db", "PRAGMA integrity_check") == ["ok"]
    assert small.add_user("Bob").id == 2002
    restore(backup)
    assert len(small.names()) == 2000


@pytest.mark.parametrize("page_size", [4096, 8192])
def test_every_part_of_a_restore_has_met_a_full_disk(
    small: Plant, disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, page_size: int
) -> None:
    """With ever more room the restore comes ever further, and stops at each of its parts, until it succeeds."""
    backup, _ = backup_to(tmp_path / "backup.sqlite")
    change(backup, f"PRAGMA page_size = {page_size}", "VACUUM")
    small.add_user("Ada")
    caplog.set_level(logging.INFO, logger="storage")
    stopped_after, restored = [], False
    for leave in range(0, 12 * MIB, MIB // 8):
        fill(disk, leave)
        caplog.clear()
        try:
            restore(backup)
            restored = True
        except DatabaseUnavailable as error:
            assert re.search("full|no space left", str(error))  # noqa: PT017 - sometimes it succeeds
            stopped_after.append(caplog.messages[-1].rpartition(": ")[2] if caplog.messages else "")
        assert left_over(disk) == []
        assert len(small.names()) == 2001 - restored
        assert len(safety_copies(disk / "plant.db")) == restored
        if restored:
            break

    assert restored
    assert {"", "nobody else can write now", "the candidate is ready"} <= set(stopped_after)
    assert values(disk / "plant.db", "PRAGMA integrity_check") == ["ok"]


def test_a_backup_on_a_full_disk_leaves_nothing_and_not_the_older_one_either(small: Plant, disk: Path) -> None:
    target = disk / "backup.sqlite"
    backup_to(target)
    before = target.read_bytes()
    fill(disk, MIB)

    for attempt in (lambda: backup_to(target), backup_in_memory):
        with pytest.raises(DatabaseUnavailable, match=r"full|no space left"):
            attempt()

    assert target.read_bytes() == before
    assert left_over(disk) == []


@pytest.mark.parametrize("leave", [0, MIB])
def test_an_upload_to_a_full_disk_says_so(small: Plant, disk: Path, tmp_path: Path, leave: int) -> None:
    backup, _ = backup_to(tmp_path / "backup.sqlite")
    fill(disk, leave)

    with pytest.raises(DatabaseUnavailable, match="free some disk space"):
        restore(backup, dry_run=True)

    assert left_over(disk) == []


def test_in_a_read_only_folder_a_backup_works_and_a_restore_says_why_it_does_not(
    small: Plant, disk: Path, tmp_path: Path
) -> None:
    backup, _ = backup_to(tmp_path / "backup.sqlite")
    set_database_url("sqlite://")  # which removes the log that a read-only disk could not hold
    remount(disk, "ro")
    bootstrap(database_url=f"sqlite:///file:{disk}/plant.db?mode=ro&immutable=1&uri=true", create_tables=False)

    made, content = backup_in_memory()
    assert made.size == len(content) > MIB
    assert (tmp_path / "again.sqlite") == backup_to(tmp_path / "again.sqlite")[0]
    with pytest.raises(Exception, match=r"read-only|readonly|journal_mode") as refused:
        restore(backup)
    assert str(disk) not in str(refused.value)
    health = check_health()
    assert health.status is Status.DEGRADED
    assert any("cannot be written" in reason for reason in health.reasons)
    set_database_url("sqlite://")
    remount(disk, "rw")


def test_health_says_that_the_disk_is_nearly_full(small: Plant, disk: Path) -> None:
    assert check_health().reasons == ("the disk has 13 MiB left, too little for a copy of the database: free some",)


def test_a_folder_of_somebody_elses_is_told_without_its_path(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Callable[[], None]:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("tempfile.mkstemp", refuse)

    with pytest.raises(DatabaseUnavailable, match="permission denied; free some disk space and make") as told:
        backup_to(tmp_path / "backup.sqlite")

    assert str(tmp_path) not in str(told.value)


def export(plant: Plant, target: Path) -> Path:
    export_archive(target, [plant.users, plant.jobs])
    return target


@pytest.mark.parametrize(
    ("leave", "expected"),
    [(0, 2), (64 << 10, 2), (MIB, 2), (0, 0), (64 << 10, 0), (MIB, 0), (2 * MIB, 0), (3 * MIB, 0)],
)
def test_an_import_on_a_disk_that_gets_full_leaves_the_database_as_it_was(
    small: Plant, disk: Path, tmp_path: Path, leave: int, expected: int
) -> None:
    """Also where less room seems to be needed than is there."""
    archive = export(small, tmp_path / "archive.zip")
    with transaction():
        for user in small.users.all():
            user.name = "y" * 400
            small.users.save(user)
    small.users.insert_many([small.user(name="z", email="") for _ in range(10)])
    before = small.names()
    with get_engine().connect() as connection:  # or there would be room in the log
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    fill(disk, leave)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.transfer.archive_import._STAGED", expected)
        with pytest.raises(DatabaseUnavailable, match=r"full|no space left|the disk has . MiB left"):
            import_archive(archive, [small.users, small.jobs], mode="replace")

    assert small.names() == before
    assert left_over(disk) == []
    (disk / "filler.db").unlink()
    assert values(disk / "plant.db", "PRAGMA integrity_check") == ["ok"]
    report = import_archive(archive, [small.users, small.jobs], mode="replace")
    assert [(table.updated, table.removed) for table in report.tables][:1] == [(2000, 10)]
    assert len(small.names()) == 2000


@pytest.mark.parametrize("leave", [0, 4 << 10])
def test_an_export_to_a_full_disk_leaves_the_older_archive(small: Plant, disk: Path, leave: int) -> None:
    target = export(small, disk / "archive.zip")
    before = target.read_bytes()
    small.users.insert_many([small.user(name=str(number) * 100, email="") for number in range(500)])
    fill(disk, leave)

    with pytest.raises(DatabaseUnavailable, match=r"full|no space left") as told:
        export(small, target)

    assert str(disk) not in str(told.value)
    assert target.read_bytes() == before
    target.unlink()
    assert left_over(disk) == []


def test_in_a_read_only_folder_an_export_works_elsewhere_and_an_import_says_why_it_does_not(
    small: Plant, disk: Path, tmp_path: Path
) -> None:
    archive = export(small, tmp_path / "archive.zip")
    small.users.delete(1)
    set_database_url("sqlite://")  # which removes the log that a read-only disk could not hold
    remount(disk, "ro")
    bootstrap(database_url=f"sqlite:///file:{disk}/plant.db?mode=ro&immutable=1&uri=true", create_tables=False)

    export(small, tmp_path / "again.zip")
    report = import_archive(archive, [small.users, small.jobs], dry_run=True)
    assert (report.ok, report.tables[0].updated) == (True, 1)
    for attempt in (
        lambda: export(small, disk / "archive.zip"),
        lambda: import_archive(archive, [small.users, small.jobs]),
    ):
        with pytest.raises(DatabaseUnavailable, match=r"read-only|readonly") as refused:
            attempt()
        assert str(disk) not in str(refused.value)
    set_database_url("sqlite://")
    remount(disk, "rw")
    assert left_over(disk) == []
    assert left_over(tmp_path) == ["again.zip", "archive.zip", "disk"]


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_write_on_a_full_disk_says_so_however_deep_it_is(small: Plant, disk: Path, depth: int) -> None:
    """SQLite undoes the whole transaction, so there is no savepoint left to return to."""
    with get_engine().connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    fill(disk, 64 << 10)
    with pytest.raises(DatabaseUnavailable, match="full") as told, ExitStack() as stack:
        for _ in range(depth):
            stack.enter_context(transaction())
        small.users.insert_many([small.user(name="y" * 400, email="") for _ in range(9000)])
    assert "SAVEPOINT" not in str(told.value)
    (disk / "filler.db").unlink()
    assert small.add_user("Bob").id is not None
    assert len(small.names()) == 2001
