"""Restoring a backup: what is there afterwards, for everybody who has the database open."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

from storage.auditor import AuditLog
from storage.bootstrap import bootstrap
from storage.database import get_engine, set_database_url, transaction
from storage.dialects import sqlite_driver
from storage.dialects.sqlite_driver import DRIVER
from storage.errors import (
    BackupInvalid,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseUnavailable,
    NotSupported,
    StorageError,
    WriteWouldDeadlock,
)
from storage.transfer import replacement, safety_copy, sqlite_file
from storage.transfer.backup import backup_to
from storage.transfer.restore import restore
from tests.integration.storage_backup.files import change, copied, damage, rows, safety_copies, values
from tests.integration.storage_backup.plant import Plant
from tests.serving import PATIENCE

LEGACY = Path(__file__).parents[2] / "data" / "vention-storage-0.6.sqlite"
NAMES = "SELECT name FROM user ORDER BY id"


def trail(component: str) -> list[AuditLog]:
    with transaction() as session:
        query = select(AuditLog).where(AuditLog.component == component).order_by("id")
        return list(session.exec(query).all())


def test_the_database_is_as_it_was_when_the_backup_was_made(plant: Plant, backup: Path) -> None:
    assert plant.names() == ["Ada", "Bob"]

    restored = restore(backup)

    assert plant.names() == ["Ada"]
    assert [job.note for job in plant.jobs.all()] == ["weld"]
    assert restored.filename == "backup.sqlite"
    assert restored.rows == {"auditlog": 2, "job": 1, "user": 1}
    assert restored.sha256 == hashlib.sha256(backup.read_bytes()).hexdigest()


def test_the_database_before_is_kept_beside_it(plant: Plant, backup: Path, path: Path) -> None:
    restored = restore(backup)

    assert [restored.safety_copy] == safety_copies(path)
    assert restored.safety_copy is not None
    assert values(restored.safety_copy, NAMES) == ["Ada", "Bob"]
    assert values(restored.safety_copy, "PRAGMA integrity_check") == ["ok"]
    assert restored.safety_copy.stat().st_mode & 0o777 == 0o600


def test_a_safety_copy_can_be_restored_itself(plant: Plant, backup: Path) -> None:
    first = restore(backup)
    plant.add_user("Cem")
    assert first.safety_copy is not None

    restore(first.safety_copy)

    assert plant.names() == ["Ada", "Bob"]


def test_the_last_three_safety_copies_are_kept(plant: Plant, backup: Path, path: Path) -> None:
    made = [restore(backup).safety_copy for _ in range(5)]

    assert safety_copies(path) == made[2:]


def test_the_newest_safety_copy_is_kept_though_the_clock_was_put_back(
    plant: Plant, backup: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [restore(backup).safety_copy for _ in range(3)]
    monkeypatch.setattr(safety_copy, "time_stamp", lambda _: "19700101T000000.000000Z")

    newest = restore(backup).safety_copy

    assert safety_copies(path) == [newest, *made[1:]]


def test_the_restore_is_an_entry_of_the_trail_that_is_restored(plant: Plant, backup: Path) -> None:
    before = max(entry.id or 0 for entry in trail("users"))

    restored = restore(backup, filename="/home/maria/monday.sqlite", actor="maria")

    (entry,) = trail("database")[-1:]
    assert (entry.operation, entry.actor, entry.record_key, entry.before) == ("restore", "maria", "monday.sqlite", None)
    assert restored.safety_copy is not None
    assert entry.after == {
        "filename": "monday.sqlite",
        "sha256": restored.sha256,
        "rows": {"auditlog": 2, "job": 1, "user": 1},
        "safety_copy": restored.safety_copy.name,
    }
    assert entry.id == before + 1


def test_ids_that_were_given_out_since_the_backup_do_not_come_back(plant: Plant, backup: Path) -> None:
    given = [plant.add_user(name).id for name in ("Cem", "Dee")]

    restore(backup)

    assert plant.add_user("Eve").id == max(given) + 1


def test_ids_of_the_backup_do_not_come_back_either(plant: Plant, backup: Path, tmp_path: Path) -> None:
    later = change(copied(backup, tmp_path / "later.sqlite"), "UPDATE sqlite_sequence SET seq = 70")

    restore(later)

    assert plant.add_user("Eve").id == 71


def test_whoever_has_the_database_open_reads_the_new_one(plant: Plant, backup: Path, path: Path) -> None:
    other = DRIVER.connect(str(path), isolation_level=None)
    read_by_thread: list[list[str]] = []
    ready, restored = threading.Event(), threading.Event()

    def work() -> None:
        plant.names()  # which keeps a connection of the thread's
        ready.set()
        restored.wait(PATIENCE)
        read_by_thread.append(plant.names())

    thread = threading.Thread(target=work)
    thread.start()
    with closing(other), Session(get_engine()) as session:
        assert len(session.exec(select(plant.user)).all()) == len(other.execute(NAMES).fetchall()) == 2
        ready.wait(PATIENCE)
        restore(backup)
        restored.set()
        thread.join(PATIENCE)
        session.expire_all()
        assert [user.name for user in session.exec(select(plant.user)).all()] == ["Ada"]
        other.execute("INSERT INTO user (name, email) VALUES ('Cem', 'c@example.com')")

    assert read_by_thread == [["Ada"]]
    assert plant.names() == ["Ada", "Cem"]
    assert values(path, "PRAGMA integrity_check") == ["ok"]


def test_a_snapshot_that_is_being_read_stays_what_it_is(plant: Plant, backup: Path, path: Path) -> None:
    reader = DRIVER.connect(str(path), isolation_level=None)
    with closing(reader):
        reader.execute("BEGIN")
        before = reader.execute(NAMES).fetchall()
        restore(backup)
        assert reader.execute(NAMES).fetchall() == before == [("Ada",), ("Bob",)]
        reader.execute("COMMIT")
        assert reader.execute(NAMES).fetchall() == [("Ada",)]


def test_the_file_itself_stays(plant: Plant, backup: Path, path: Path) -> None:
    before = path.stat().st_ino

    restore(backup)

    assert path.stat().st_ino == before


def test_a_dry_run_reports_and_changes_nothing(plant: Plant, backup: Path, folder: Path) -> None:
    before = {item.name: item.stat().st_mtime_ns for item in folder.iterdir()}

    restored = restore(backup, dry_run=True)

    assert (restored.rows["user"], restored.safety_copy) == (1, None)
    assert {item.name: item.stat().st_mtime_ns for item in folder.iterdir()} == before
    assert plant.names() == ["Ada", "Bob"]
    assert "restore" not in [entry.operation for entry in trail("database")]


@pytest.mark.parametrize("page_size", [512, 1024, 8192, 65536])
def test_a_backup_with_another_page_size_is_rewritten(
    plant: Plant, backup: Path, tmp_path: Path, path: Path, page_size: int
) -> None:
    other = copied(backup, tmp_path / "other.sqlite")
    change(other, f"PRAGMA page_size = {page_size}", "VACUUM")
    assert values(other, "PRAGMA page_size") == [page_size]

    restore(other)

    assert plant.names() == ["Ada"]
    assert values(path, "PRAGMA page_size") == [4096]
    assert values(path, "PRAGMA integrity_check") == ["ok"]
    assert plant.add_user("Eve").id == 3


@pytest.mark.parametrize("mode", ["PRAGMA auto_vacuum = FULL", "PRAGMA auto_vacuum = INCREMENTAL"])
def test_a_backup_that_keeps_its_free_pages_otherwise_is_restored(
    plant: Plant, backup: Path, tmp_path: Path, path: Path, mode: str
) -> None:
    other = change(copied(backup, tmp_path / "other.sqlite"), mode, "VACUUM")

    restore(other)
    plant.users.insert_many([plant.user(name=f"{n}" * 500, email="") for n in range(100)])
    plant.users.delete_many(range(50))

    assert values(path, "PRAGMA integrity_check") == ["ok"]


def test_a_backup_in_wal_mode_is_restored(plant: Plant, backup: Path) -> None:
    assert rows(backup, "PRAGMA journal_mode = WAL") == [("wal",)]

    restore(backup)

    assert plant.names() == ["Ada"]


def test_a_backup_of_a_larger_database_is_restored(plant: Plant, backup: Path, tmp_path: Path, path: Path) -> None:
    plant.users.insert_many([plant.user(name=f"user {n} " * 100, email="") for n in range(5000)])
    large, _ = backup_to(tmp_path / "large.sqlite")
    restore(backup)
    assert plant.names() == ["Ada"]

    restore(large)

    assert len(plant.names()) == 5002
    assert values(path, "PRAGMA integrity_check") == ["ok"]
    assert path.with_name("plant.db-wal").stat().st_size == 0  # the space is given back


def test_a_backup_of_version_0_6_is_brought_up_to_date(plant: Plant, tmp_path: Path, path: Path) -> None:
    old = change(copied(LEGACY, tmp_path / "old.sqlite"), "ALTER TABLE job ADD COLUMN note VARCHAR NOT NULL DEFAULT ''")
    for column in ("state", "speed", "started_at", "settings"):
        change(old, f"ALTER TABLE job DROP COLUMN {column}")

    restore(old)

    assert plant.names() == ["Alice Smith", "Zoë", "=SUM(A1)", ""]
    assert plant.add_user("Eve").id == 6
    assert {entry.record_key for entry in trail("users")} >= {"1", "5"}


def test_an_open_file_is_restored_as_well(plant: Plant, backup: Path) -> None:
    restored = restore(io.BytesIO(backup.read_bytes()))

    assert restored.filename == "backup.sqlite"
    assert plant.names() == ["Ada"]


def test_it_never_takes_the_database_itself_for_a_backup(plant: Plant, backup: Path, path: Path) -> None:
    for source in (path, str(path), path.with_name("plant.db-wal")):
        with pytest.raises(StorageError, match="the file is the database itself"):
            restore(source)

    assert plant.names() == ["Ada", "Bob"]


def test_it_is_refused_inside_a_transaction(plant: Plant, backup: Path) -> None:
    with transaction(), pytest.raises(WriteWouldDeadlock, match="end the transaction first"):
        restore(backup)


def test_it_waits_for_a_running_transaction_of_this_process(plant: Plant, backup: Path, path: Path) -> None:
    inside, done = threading.Event(), threading.Event()

    def work() -> None:
        with transaction():
            plant.add_user("Cem")
            inside.set()
            done.wait(PATIENCE)

    thread = threading.Thread(target=work)
    restoring = threading.Thread(target=restore, args=(backup,))
    thread.start()
    inside.wait(PATIENCE)
    restoring.start()
    restoring.join(0.2)
    assert restoring.is_alive()
    done.set()
    thread.join(PATIENCE)
    restoring.join(PATIENCE)

    assert plant.names() == ["Ada"]
    assert values(safety_copies(path)[-1], NAMES) == ["Ada", "Bob", "Cem"]


def test_another_process_that_keeps_the_lock_makes_it_give_up(
    declared: Plant, path: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENTION_STORAGE_BUSY_TIMEOUT", "0.2")
    bootstrap(database_url=f"sqlite:///{path}")
    made, _ = backup_to(tmp_path / "backup.sqlite")
    with closing(DRIVER.connect(str(path), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy, match="another process"):
            restore(made)
    set_database_url("sqlite://")

    assert safety_copies(path) == []


def test_two_restores_at_once_follow_each_other(plant: Plant, backup: Path, tmp_path: Path, path: Path) -> None:
    second, _ = backup_to(tmp_path / "second.sqlite")
    failures: list[BaseException] = []
    start = threading.Barrier(2)

    def work(source: Path) -> None:
        start.wait(PATIENCE)
        try:
            restore(source)
        except BaseException as error:  # noqa: BLE001 - the test reports it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(source,)) for source in (backup, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert failures == []
    assert plant.names() in (["Ada"], ["Ada", "Bob"])
    copies = [values(copy, NAMES) for copy in safety_copies(path)]
    assert copies[0] == ["Ada", "Bob"]
    assert copies[1] in (["Ada"], ["Ada", "Bob"])
    assert copies[1] != plant.names()


def test_what_cannot_be_read_back_is_undone(
    plant: Plant, backup: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replacement.Replacement, "_is_in_place", lambda _: None)

    with pytest.raises(DatabaseUnavailable, match="the one before is back"):
        restore(backup)

    assert plant.names() == ["Ada", "Bob"]
    assert plant.add_user("Cem").id == 3
    assert len(safety_copies(path)) == 1


def test_a_restore_of_another_process_right_after_it_is_not_undone(
    plant: Plant, backup: Path, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.add_user("Cem")
    later, _ = backup_to(tmp_path / "later.sqlite")
    look = replacement.Replacement._is_in_place

    def look_too_late(self: replacement.Replacement) -> bool | None:
        with closing(DRIVER.connect(str(later))) as source, closing(DRIVER.connect(str(path))) as target:
            source.backup(target)
        return look(self)

    monkeypatch.setattr(replacement.Replacement, "_is_in_place", look_too_late)

    restore(backup)

    assert plant.names() == ["Ada", "Bob", "Cem"]


def test_a_damaged_safety_copy_stops_it(
    plant: Plant, backup: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = sqlite_file.copy_database

    def damage(source: Any, target: Path) -> None:
        copy(source, target)
        with target.open("rb+") as file:
            file.seek(4096)
            file.write(os.urandom(8192))

    monkeypatch.setattr(safety_copy, "copy_database", damage)

    with pytest.raises(DatabaseUnavailable, match="safety copy of the database cannot be read back"):
        restore(backup)

    assert plant.names() == ["Ada", "Bob"]
    assert safety_copies(path) == []


def test_a_damaged_database_can_be_restored(
    declared: Plant, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bootstrap(database_url=f"sqlite:///{path}")
    declared.users.insert_many([declared.user(name=f"user {n} " * 100, email="") for n in range(500)])
    made, _ = backup_to(tmp_path / "backup.sqlite")
    set_database_url("sqlite://")
    damage(path, "user")
    bootstrap(database_url=f"sqlite:///{path}")
    with pytest.raises(DatabaseDamaged, match="restore a backup"):
        declared.users.all()

    restore(made)

    assert len(declared.names()) == 500
    assert "is damaged, and so is its safety copy" in caplog.text
    set_database_url("sqlite://")


def test_a_database_in_memory_has_no_file_to_restore(declared: Plant, backup: Path) -> None:
    set_database_url("sqlite://")
    bootstrap(database_url="sqlite://")

    with pytest.raises(NotSupported, match="in memory"):
        restore(backup)


def test_without_wal_it_is_refused(declared: Plant, backup: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_database_url("sqlite://")
    change(path, "PRAGMA journal_mode = DELETE")
    monkeypatch.setattr(sqlite_driver, "_use_wal", lambda _: None)  # as on a disk of the network
    bootstrap(database_url=f"sqlite:///{path}")

    with pytest.raises(NotSupported, match="journal_mode delete"):
        restore(backup)


def test_a_file_that_is_too_large_is_refused(plant: Plant, backup: Path) -> None:
    with pytest.raises(BackupInvalid, match="larger than 5000 bytes") as refused:
        restore(backup, max_bytes=5000)

    assert refused.value.check == "size"
    assert plant.names() == ["Ada", "Bob"]
