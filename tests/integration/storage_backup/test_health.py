"""The health of the database, as a function and as an RPC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from connectrpc.code import Code
from sqlalchemy import create_engine, make_url

from communication.app import VentionApp
from communication.client import ConnectClient
from communication.decorators import Registry
from communication.errors import RpcError
from storage import health as health_module
from storage.accessor import ModelAccessor
from storage.bootstrap import bootstrap
from storage.damage import forget_damage, note_damage
from storage.database import get_engine, set_database_url
from storage.dialects.sqlite_driver import DRIVER
from storage.errors import DatabaseDamaged
from storage.health import Engine, Room, Status, check_health
from storage.transfer.backup import backup_to
from storage.transfer.restore import restore
from storage.vention_communication import build_storage_bundle
from tests.integration.storage_backup.files import change, damage
from tests.integration.storage_backup.plant import Plant
from tests.serving import serving


def room(health: health_module.Health) -> Room:
    assert health.room is not None
    return health.room


def engine(health: health_module.Health) -> Engine:
    assert health.engine is not None
    return health.engine


@pytest.fixture
def postgresql(declared: Plant, postgresql_url: str) -> Iterator[Plant]:
    server = create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE storage_health")
    url = make_url(postgresql_url).set(database="storage_health").render_as_string(hide_password=False)
    bootstrap(database_url=url)
    yield declared
    set_database_url("sqlite://")
    with server.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE storage_health WITH (FORCE)")
    server.dispose()


def test_a_sound_database_is_ok(plant: Plant, path: Path) -> None:
    unaudited = ModelAccessor(plant.job, "scratch", enable_auditing=False)

    health = check_health([plant.users, unaudited])

    assert (health.status, health.reasons, health.schema_up_to_date) == (Status.OK, (), True)
    assert (health.database, engine(health).version) == ("sqlite", DRIVER.sqlite_version)
    assert (engine(health).journal_mode, engine(health).synchronous) == ("wal", "full")
    assert [(item.component, item.model, item.audited) for item in health.accessors] == [
        ("users", "User", True),
        ("scratch", "Job", False),
    ]
    assert room(health).size % 4096 == 0
    assert room(health).wal_size == path.with_name("plant.db-wal").stat().st_size
    assert (room(health).free_disk or 0) > 0


def test_the_last_backup_is_one_that_was_made_or_restored(plant: Plant, tmp_path: Path) -> None:
    assert check_health().last_backup is None

    path, made = backup_to(tmp_path)
    first = check_health().last_backup
    assert first is not None
    assert made.taken_at <= first <= datetime.now(UTC)

    restore(path)
    second = check_health().last_backup
    assert second is not None
    assert first < second <= datetime.now(UTC)


def test_a_dry_run_is_no_backup(plant: Plant, backup: Path) -> None:
    before = check_health().last_backup

    restore(backup, dry_run=True)

    assert check_health().last_backup == before


def test_a_schema_that_differs_is_a_reason(plant: Plant, path: Path) -> None:
    change(path, "ALTER TABLE user DROP COLUMN email", "DROP TABLE job")

    health = check_health()

    assert (health.status, health.schema_up_to_date) == (Status.DEGRADED, False)
    (reason,) = health.reasons
    assert "user.email is missing" in reason
    assert "job is missing" in reason


def test_settings_that_lose_data_are_reasons(plant: Plant) -> None:
    with closing(get_engine().raw_connection()) as pooled:
        pooled.cursor().execute("PRAGMA synchronous = NORMAL")
    try:
        assert check_health().reasons == ("synchronous is normal, which may lose the last writes in a power cut",)
    finally:
        get_engine().dispose()


SOUND = {"version": "3.53.4", "journal_mode": "wal", "synchronous": "full"}


@pytest.mark.parametrize(
    ("found", "room_found", "told"),
    [
        ({"wal_reset_bug": True, "version": "3.40.1"}, {}, "SQLite 3.40.1 can corrupt a database"),
        ({"journal_mode": "delete"}, {}, "journal_mode is delete"),
        ({}, {"free_disk": 10 << 20}, "the disk has 10 MiB left"),
        ({}, {"size": 200 << 20, "free_disk": 100 << 20}, "the disk has 100 MiB left"),
        ({}, {"wal_size": 530 << 20}, "the write-ahead log has 530 MiB"),
        ({}, {"writable": False}, "cannot be written"),
        ({}, {"size": 600 << 20, "wal_size": 530 << 20, "free_disk": 1 << 40}, None),
        ({"journal_mode": None, "synchronous": None}, {"wal_size": None, "free_disk": None}, None),
    ],
)
def test_what_worries(found: dict[str, object], room_found: dict[str, object], told: str | None) -> None:
    settings: dict[str, object] = {**SOUND, **found}
    space: dict[str, object] = {"size": 1 << 20, "wal_size": 0, "free_disk": 1 << 40, **room_found}

    worries = health_module._worries(Engine(**settings), Room(**space))  # type: ignore[arg-type]

    assert len(worries) == (told is not None)
    assert told is None or told in worries[0]


@pytest.fixture
def damaged(plant: Plant, backup: Path, path: Path) -> Plant:
    """The application on a database whose users are lost."""
    set_database_url("sqlite://")
    damage(path, "user")
    bootstrap(database_url=f"sqlite:///{path}")
    return plant


def test_damage_that_a_call_or_a_backup_has_seen_is_a_reason_until_a_backup_is_restored(
    damaged: Plant, backup: Path, tmp_path: Path
) -> None:
    seen = "the database is damaged, as was seen at 2"
    assert check_health().status is Status.OK  # which reads too little to see it
    for see in (damaged.names, lambda: damaged.add_user("Cem"), lambda: backup_to(tmp_path)):
        with pytest.raises(DatabaseDamaged):
            see()
        health = check_health()
        assert (health.status, [reason[: len(seen)] for reason in health.reasons]) == (Status.DEGRADED, [seen])
        forget_damage()
    with pytest.raises(DatabaseDamaged):
        damaged.names()

    restore(backup)

    assert (check_health().status, damaged.names()) == (Status.OK, ["Ada"])


def test_damage_is_forgotten_when_the_database_is_found_sound_or_is_another_one(plant: Plant, tmp_path: Path) -> None:
    note_damage()
    assert check_health().status is Status.DEGRADED
    backup_to(tmp_path)
    assert check_health().status is Status.OK

    note_damage()
    set_database_url("sqlite://")
    bootstrap(database_url=f"sqlite:///{tmp_path}/data/another.db")
    assert check_health().status is Status.OK


async def test_damage_is_a_data_loss_to_callers(damaged: Plant) -> None:
    app = VentionApp(name="plant", registry=Registry())
    app.add_bundle(build_storage_bundle(accessors=[damaged.users]))
    async with serving(app) as url, ConnectClient(url) as client:
        for rpc in ("UsersListRecords", "DatabaseBackupSqlite"):
            with pytest.raises(RpcError, match="the database is damaged; restore a") as told:
                await client.call(rpc, {})
            assert told.value.code is Code.DATA_LOSS
        health = await client.call("DatabaseHealth", {})
    assert health.status == "degraded"


def test_a_database_that_does_not_answer_is_degraded(plant: Plant, path: Path) -> None:
    set_database_url("sqlite://")
    path.write_bytes(b"no database at all" * 1000)
    set_database_url(f"sqlite:///{path}")

    health = check_health([plant.users])

    assert (health.status, health.engine, health.room) == (Status.DEGRADED, None, None)
    assert health.reasons == (
        "the database cannot be used: file is not a database; point the database URL at a SQLite file",
    )
    assert health.accessors[0].component == "users"


def test_postgresql_tells_its_version_and_size(postgresql: Plant) -> None:
    health = check_health([postgresql.users])

    assert (health.status, health.database, health.last_backup) == (Status.OK, "postgresql", None)
    assert engine(health).version[0].isdigit()
    assert room(health).size > 1_000_000
    assert (engine(health).journal_mode, room(health).wal_size, room(health).free_disk) == (None, None, None)


async def test_on_postgresql_the_rpcs_that_only_read_answer(postgresql: Plant) -> None:
    app = VentionApp(name="plant", registry=Registry())
    app.add_bundle(build_storage_bundle(accessors=[postgresql.users, postgresql.jobs]))
    postgresql.add_user("Ada")

    async with serving(app) as url, ConnectClient(url) as client:
        health = await client.call("DatabaseHealth", {})
        (entry,) = (await client.call("DatabaseReadAudit", {"component": "users", "operation": "create"})).entries
        with pytest.raises(RpcError, match="operation must be one of"):
            await client.call("DatabaseReadAudit", {"operation": "insert"})
        drawn = await client.call("DatabaseSchemaDiagram", {"format": "mermaid"})

    assert (health.status, health.database, health.last_backup) == ("ok", "postgresql", None)
    assert (health.journal_mode, health.wal_size_bytes) == (None, None)
    assert (entry.record_id, entry.after["name"]) == (1, "Ada")
    assert '"user" ||--o{ "job"' in drawn.mermaid


async def test_the_rpc_tells_the_same(plant: Plant) -> None:
    app = VentionApp(name="plant", registry=Registry())
    app.add_bundle(build_storage_bundle(accessors=[plant.users]))
    app.add_bundle(build_storage_bundle(accessors=[plant.users, plant.jobs]))

    async with serving(app) as url, ConnectClient(url) as client:
        told = await client.call("DatabaseHealth")
        assert told.last_backup is None
        made = await client.call("Database_BackupSqlite", {})
        later = await client.call("Database_Health", {})

    assert (told.status, told.reasons, told.database) == ("ok", [], "sqlite")
    assert (told.version, told.wal_reset_bug) == (DRIVER.sqlite_version, False)
    assert (told.journal_mode, told.synchronous, told.schema_up_to_date) == ("wal", "full", True)
    assert [(item.component, item.model, item.audited) for item in told.accessors] == [
        ("users", "User", True),
        ("jobs", "Job", True),
    ]
    assert told.size_bytes == len(made.data)
    assert told.free_disk_bytes > told.wal_size_bytes > 0
    assert later.last_backup.tzinfo is not None
