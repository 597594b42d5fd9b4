"""Backups: whole, verified, made while others write."""

from __future__ import annotations

import hashlib
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from storage.bootstrap import bootstrap
from storage.database import set_database_url, transaction
from storage.dialects.sqlite_driver import DRIVER
from storage.errors import DatabaseDamaged, DatabaseUnavailable, RecordInvalid, StorageError
from storage.trail import read_trail
from storage.transfer import backup as backup_module
from storage.transfer.backup import backup_in_memory, backup_to
from storage.transfer.restore import restore
from tests.integration.storage_backup.files import damage, left_over, values
from tests.integration.storage_backup.plant import Plant
from tests.serving import PATIENCE

NAMES = "SELECT name FROM user ORDER BY id"


def test_it_is_a_database_of_its_own_with_all_that_was_committed(plant: Plant, tmp_path: Path) -> None:
    plant.add_user("Ada")

    path, made = backup_to(tmp_path / "backup.sqlite")

    assert path == tmp_path / "backup.sqlite"
    assert values(path, NAMES) == ["Ada"]
    assert values(path, "PRAGMA journal_mode") == ["delete"]
    assert values(path, "PRAGMA integrity_check") == ["ok"]
    assert (made.size, made.sha256) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    assert path.stat().st_mode & 0o777 == 0o600
    assert left_over(tmp_path) == ["data"]


def test_in_a_folder_it_gets_a_name_with_the_time_in_utc(plant: Plant, tmp_path: Path) -> None:
    before = datetime.now(UTC)

    path, made = backup_to(tmp_path)

    assert path.name == made.filename
    assert re.fullmatch(r"plant-\d{8}T\d{6}\.\d{6}Z\.sqlite", path.name)
    assert (
        before
        <= datetime.strptime(path.name, "plant-%Y%m%dT%H%M%S.%fZ.sqlite").replace(tzinfo=UTC)
        <= datetime.now(UTC)
    )


def test_it_replaces_an_older_one(plant: Plant, tmp_path: Path) -> None:
    backup_to(tmp_path / "backup.sqlite")
    plant.add_user("Ada")

    path, _ = backup_to(tmp_path / "backup.sqlite")

    assert values(path, NAMES) == ["Ada"]


def test_it_never_replaces_the_database_itself(plant: Plant, path: Path, tmp_path: Path) -> None:
    plant.add_user("Ada")
    (tmp_path / "link.sqlite").symlink_to(path)

    for target in (path, tmp_path / "link.sqlite", path.with_name("plant.db-wal"), path.with_name("plant.db-shm")):
        with pytest.raises(StorageError, match="replace the database itself"):
            backup_to(target)

    assert plant.names() == ["Ada"]


def test_the_audit_trail_tells_of_it(plant: Plant, tmp_path: Path) -> None:
    _, made = backup_to(tmp_path, actor="maria")

    (entry,) = read_trail(component="database")
    assert (entry.operation, entry.actor, entry.record_key, entry.before) == ("backup", "maria", made.filename, None)
    assert entry.after == {"filename": made.filename, "sha256": made.sha256, "size": made.size}


def test_an_actor_that_the_trail_cannot_keep_is_refused_before_anything_is_made(plant: Plant, tmp_path: Path) -> None:
    with pytest.raises(RecordInvalid, match="actor"):
        backup_to(tmp_path / "backup.sqlite", actor="")

    assert not (tmp_path / "backup.sqlite").exists()


def test_what_is_not_committed_is_not_in_it(plant: Plant, tmp_path: Path) -> None:
    plant.add_user("Ada")
    with transaction():
        plant.add_user("Bob")
        content = values(backup_to(tmp_path / "backup.sqlite")[0], NAMES)

    assert content == ["Ada"]


def test_the_progress_goes_up_to_the_end_once_though_others_write(plant: Plant, tmp_path: Path, path: Path) -> None:
    plant.users.insert_many([plant.user(name="x" * 3000, email="") for _ in range(9000)])
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        other.execute("INSERT INTO user (name, email) VALUES ('late', '')")  # a step would start anew after it

    with closing(DRIVER.connect(str(path), isolation_level=None)) as other:
        made, _ = backup_to(tmp_path / "backup.sqlite", progress=progress)

    assert len(told) > 2
    assert told == sorted(set(told))
    assert told[-1][0] == told[-1][1] == values(made, "PRAGMA page_count")[0]
    assert values(made, "SELECT count(*) FROM user WHERE name = 'late'") == [0]


def test_a_progress_that_raises_stops_it_and_leaves_nothing(plant: Plant, tmp_path: Path) -> None:
    def progress(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup_to(tmp_path / "backup.sqlite", progress=progress)

    assert left_over(tmp_path) == ["data"]
    assert not (tmp_path / "backup.sqlite").exists()
    plant.add_user("Ada")  # nothing is locked
    assert values(backup_to(tmp_path / "backup.sqlite")[0], NAMES) == ["Ada"]


def test_two_at_once_into_one_file_leave_one_of_them_whole(plant: Plant, tmp_path: Path) -> None:
    plant.users.insert_many([plant.user(name="x" * 500, email="") for _ in range(2000)])
    with ThreadPoolExecutor() as pool:
        made = [pool.submit(backup_to, tmp_path / "backup.sqlite") for _ in range(4)]

    digests = {future.result()[1].sha256 for future in made}
    assert hashlib.sha256((tmp_path / "backup.sqlite").read_bytes()).hexdigest() in digests
    assert left_over(tmp_path) == ["data"]


def test_backups_while_it_is_restored_are_of_the_old_database_or_the_new(plant: Plant, tmp_path: Path) -> None:
    plant.add_user("Ada")
    first, _ = backup_to(tmp_path / "first.sqlite")
    plant.add_user("Bob")
    second, _ = backup_to(tmp_path / "second.sqlite")
    with ThreadPoolExecutor() as pool:
        restoring = pool.submit(lambda: [restore(source) for source in (first, second) * 5])
        found = []
        while not restoring.done():
            path, _ = backup_to(tmp_path / "backup.sqlite")
            found.append(values(path, NAMES))

    assert len(restoring.result()) == 10
    assert found
    assert all(names in (["Ada"], ["Ada", "Bob"]) for names in found)


def test_writers_go_on_meanwhile_and_every_copy_is_of_one_moment(plant: Plant, tmp_path: Path) -> None:
    """Each user has exactly one job; a copy of two moments would have a user without."""
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        while not stop.is_set():
            with transaction():
                user = plant.add_user("x" * 1000)
                plant.jobs.insert(plant.job(user_id=user.id))
            written.append(user.id)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    counts = []
    for number in range(8):
        made, _ = backup_to(tmp_path / f"{number}.sqlite")
        missing = "SELECT count(*) FROM user WHERE id NOT IN (SELECT user_id FROM job)"
        assert values(made, missing) == [0]
        assert values(made, "PRAGMA integrity_check") == ["ok"]
        counts += values(made, "SELECT count(*) FROM user")
    stop.set()
    for writer in writers:
        writer.join(PATIENCE)

    assert counts == sorted(counts)
    assert counts[0] < counts[-1] <= len(written)


def test_a_database_in_memory_can_be_backed_up(declared: Plant, tmp_path: Path) -> None:
    bootstrap(database_url="sqlite://")
    declared.add_user("Ada")

    made, content = backup_in_memory()

    assert made.filename.startswith("database-2")
    (tmp_path / "backup.sqlite").write_bytes(content)
    assert values(tmp_path / "backup.sqlite", NAMES) == ["Ada"]


def test_a_damaged_database_gives_no_backup(declared: Plant, path: Path, tmp_path: Path, folder: Path) -> None:
    bootstrap(database_url=f"sqlite:///{path}")
    declared.add_user("Ada")
    set_database_url("sqlite://")
    damage(path, "user")
    bootstrap(database_url=f"sqlite:///{path}")

    with pytest.raises(DatabaseDamaged, match="the database is damaged, and so is its copy; restore an older backup"):
        backup_to(tmp_path / "backup.sqlite")
    with pytest.raises(DatabaseDamaged):
        backup_in_memory()

    set_database_url("sqlite://")
    assert not (tmp_path / "backup.sqlite").exists()
    assert left_over(tmp_path) == ["data"]
    assert left_over(folder) == []


def test_a_folder_that_is_not_there_is_named(plant: Plant, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        backup_to(tmp_path / "nowhere" / "backup.sqlite")


def test_a_backup_counts_though_the_trail_cannot_tell_of_it(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise DatabaseUnavailable("the disk is full")

    monkeypatch.setattr(backup_module, "write_audit", full)

    path, _ = backup_to(tmp_path / "backup.sqlite")

    assert path.exists()
    assert "the audit trail cannot tell of it: the disk is full" in caplog.text


def test_a_backup_of_a_backup_is_the_same(plant: Plant, backup: Path, tmp_path: Path) -> None:
    restore(backup)

    again, _ = backup_to(tmp_path / "again.sqlite")

    assert values(again, NAMES) == values(backup, NAMES)
