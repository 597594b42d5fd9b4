"""DatabaseBackupSqlite and DatabaseRestoreSqlite as callers see them, against a real server."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from connectrpc.code import Code

from communication.app import VentionApp
from communication.client import ConnectClient
from communication.decorators import Registry
from communication.errors import RpcError
from storage.bootstrap import bootstrap
from storage.database import set_database_url
from storage.trail import read_trail
from storage.vention_communication import build_storage_bundle
from tests.integration.storage_backup.files import change, left_over, safety_copies, values
from tests.integration.storage_backup.plant import Plant
from tests.serving import eventually, serving

NAMES = "SELECT name FROM user ORDER BY id"
RESTORE = "/rpc/vention.app.v1.PlantService/DatabaseRestoreSqlite"


def make_app(plant: Plant, max_upload_bytes: int = 1 << 30) -> VentionApp:
    app = VentionApp(name="plant", registry=Registry())
    app.add_bundle(
        build_storage_bundle(
            accessors=[plant.users, plant.jobs], max_records_per_model=None, max_upload_bytes=max_upload_bytes
        )
    )
    app.finalize()
    return app


@pytest.fixture
def content(backup: Path) -> bytes:
    """A backup with Ada; in the database there is Bob as well."""
    return backup.read_bytes()


@pytest.fixture
def with_bad_row(backup: Path) -> bytes:
    """The same with a name that is no text."""
    return change(backup, "UPDATE user SET name = x'ff'").read_bytes()


@pytest.fixture
async def url(plant: Plant) -> AsyncIterator[str]:
    async with serving(make_app(plant)) as base_url:
        yield base_url


@pytest.fixture
async def client(url: str) -> AsyncIterator[ConnectClient]:
    async with ConnectClient(url) as connected:
        yield connected


async def test_the_how_to_of_the_page_runs_as_printed(
    plant: Plant, client: ConnectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.add_user("Ada")
    monkeypatch.chdir(tmp_path)

    # Backup
    backup_response = await client.call("Database_BackupSqlite", {})
    with open(backup_response.filename, "wb") as f:  # noqa: ASYNC230, PTH123 - as printed
        f.write(backup_response.data)

    os.rename(backup_response.filename, "backup.sqlite")  # noqa: PTH104
    plant.add_user("Bob")

    # Restore
    with open("backup.sqlite", "rb") as f:  # noqa: ASYNC230, PTH123 - as printed
        restore_response = await client.call(
            "Database_RestoreSqlite",
            {
                "bytes": f.read(),
                "filename": "backup.sqlite",
                "integrity_check": True,
                "dry_run": False,
            },
        )

    assert restore_response.ok
    assert plant.names() == ["Ada"]


async def test_a_backup_tells_its_name_and_hash_and_who_made_it(client: ConnectClient, plant: Plant) -> None:
    made = await client.call("DatabaseBackupSqlite", {}, headers={"X-User": "maria"})

    assert re.fullmatch(r"plant-\d{8}T\d{6}\.\d{6}Z\.sqlite", made.filename)
    assert made.sha256 == hashlib.sha256(made.data).hexdigest()
    assert made.data.startswith(b"SQLite format 3\0")
    (entry,) = read_trail(component="database")
    assert (entry.operation, entry.actor) == ("backup", "maria")


async def test_a_restore_tells_what_it_did(client: ConnectClient, plant: Plant, content: bytes, path: Path) -> None:
    request = {"bytes": content, "filename": "monday.sqlite", "actor": "maria"}

    done = await client.call("DatabaseRestoreSqlite", request)

    (kept,) = safety_copies(path)
    assert (done.ok, done.filename, done.safety_copy, done.dry_run) == (True, "monday.sqlite", kept.name, False)
    assert done.message == f"the database is restored; as it was before it is in {kept.name}"
    assert {item.table: item.rows for item in done.tables} == {"auditlog": 2, "job": 1, "user": 1}
    assert done.sha256 == hashlib.sha256(content).hexdigest()
    entry, *_ = read_trail(component="database")
    assert (entry.operation, entry.actor, entry.record_key) == ("restore", "maria", "monday.sqlite")
    assert (await client.call("UsersListRecords", {})).records[0].name == "Ada"
    assert (await client.call("UsersCreateRecord", {"record": {"name": "Cem", "email": ""}})).record.id == 3


async def test_a_dry_run_changes_nothing(client: ConnectClient, plant: Plant, content: bytes, path: Path) -> None:
    done = await client.call("DatabaseRestoreSqlite", {"bytes": content, "dry_run": True})

    assert (done.ok, done.dry_run, done.safety_copy) == (True, True, "")
    assert done.message == "the file is sound"
    assert plant.names() == ["Ada", "Bob"]
    assert safety_copies(path) == []


async def test_json_works_as_well(url: str, plant: Plant) -> None:
    plant.add_user("Ada")
    async with httpx.AsyncClient(base_url=f"{url}/rpc/vention.app.v1.PlantService/") as http:
        made = (await http.post("DatabaseBackupSqlite", json={})).json()
        plant.add_user("Bob")
        done = await http.post("DatabaseRestoreSqlite", json={"bytes": made["data"], "integrityCheck": False})

    assert done.status_code == 200
    assert done.json()["ok"] is True
    assert plant.names() == ["Ada"]


async def test_a_backup_of_more_than_4_mib_goes_both_ways(client: ConnectClient, plant: Plant) -> None:
    plant.users.insert_many([plant.user(name="x" * 3000, email="") for _ in range(1500)])

    made = await client.call("DatabaseBackupSqlite", {})
    assert len(made.data) > 8 << 20
    done = await client.call("DatabaseRestoreSqlite", {"bytes": made.data})

    assert done.ok
    assert len(plant.names()) == 1500


async def test_a_file_that_cannot_be_restored_is_an_invalid_argument(
    client: ConnectClient, plant: Plant, content: bytes, path: Path
) -> None:
    for file, told in ((b"no database", "is not a SQLite database"), (content[:-4096], "the file is damaged")):
        with pytest.raises(RpcError, match=told) as refused:
            await client.call("DatabaseRestoreSqlite", {"bytes": file})
        assert refused.value.code is Code.INVALID_ARGUMENT
        assert [violation.field for violation in refused.value.violations] == ["bytes"]

    assert plant.names() == ["Ada", "Bob"]
    assert safety_copies(path) == []


async def test_each_bad_row_of_a_file_is_a_violation(client: ConnectClient, plant: Plant, with_bad_row: bytes) -> None:
    with pytest.raises(RpcError, match="rows of the file are not what the app writes") as refused:
        await client.call("DatabaseRestoreSqlite", {"bytes": with_bad_row, "dry_run": True})

    assert refused.value.code is Code.INVALID_ARGUMENT
    assert [(item.field, item.description) for item in refused.value.violations] == [
        ("bytes", "user 1: name is kept as bytes, not as text")
    ]


async def test_a_request_above_the_limit_is_refused_before_it_is_read(plant: Plant, content: bytes) -> None:
    async with serving(make_app(plant, max_upload_bytes=10_000)) as url, ConnectClient(url) as client:
        with pytest.raises(RpcError) as refused:
            await client.call("DatabaseRestoreSqlite", {"bytes": content})

    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert plant.names() == ["Ada", "Bob"]


@pytest.mark.parametrize("rpc", ["DatabaseBackupSqlite", "DatabaseRestoreSqlite"])
async def test_the_event_loop_goes_on_meanwhile(
    client: ConnectClient, plant: Plant, content: bytes, folder: Path, rpc: str
) -> None:
    """Other calls are answered while a backup or a restore runs."""
    plant.users.insert_many([plant.user(name="x" * 500, email="") for _ in range(5000)])
    request = {"bytes": content} if rpc == "DatabaseRestoreSqlite" else {}
    working = asyncio.create_task(client.call(rpc, request))
    answered = 0
    while not working.done():
        await client.call("UsersGetRecord", {"record_id": 1})
        answered += bool(left_over(folder))

    assert (await working).filename
    assert answered > 1


async def test_writes_wait_for_a_restore_and_are_there_after_it(
    client: ConnectClient, plant: Plant, content: bytes, path: Path
) -> None:
    async def create(number: int) -> str:
        record = {"name": f"task {number}", "email": ""}
        return str((await client.call("UsersCreateRecord", {"record": record})).record.name)

    names = [f"task {number}" for number in range(4)]
    _, *created = await asyncio.gather(client.call("DatabaseRestoreSqlite", {"bytes": content}), *map(create, range(4)))

    assert created == names
    assert set(names) <= {*plant.names(), *values(safety_copies(path)[0], NAMES)}


async def test_two_restores_at_once_both_come_through(
    client: ConnectClient, plant: Plant, content: bytes, path: Path
) -> None:
    request = {"bytes": content}

    done = await asyncio.gather(*(client.call("DatabaseRestoreSqlite", request) for _ in range(2)))

    assert [item.ok for item in done] == [True, True]
    assert plant.names() == ["Ada"]
    assert [values(copy, NAMES) for copy in safety_copies(path)] == [["Ada", "Bob"], ["Ada"]]


async def test_a_client_that_goes_away_half_way_through_its_upload_changes_nothing(
    url: str, plant: Plant, content: bytes, folder: Path, path: Path
) -> None:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST {RESTORE} HTTP/1.1\r\nhost: plant\r\ncontent-type: application/proto\r\ncontent-length: {len(content)}"
    )
    writer.write(f"{head}\r\n\r\n".encode() + content[: len(content) // 2])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    del reader

    async with ConnectClient(url) as client:
        assert [item.name for item in (await client.call("UsersListRecords", {})).records] == ["Ada", "Bob"]
    assert safety_copies(path) == []
    assert left_over(folder) == []


async def test_a_client_that_goes_away_while_it_is_restored_leaves_old_or_new_and_no_files(
    url: str, plant: Plant, content: bytes, folder: Path, path: Path
) -> None:
    async with ConnectClient(url) as client:
        await client.call("UsersListRecords", {})
        restoring = asyncio.create_task(client.call("DatabaseRestoreSqlite", {"bytes": content}))
        await eventually(lambda: left_over(folder))
        restoring.cancel()
        await asyncio.gather(restoring, return_exceptions=True)
        await eventually(lambda: not left_over(folder))
        answered = [item.name for item in (await client.call("UsersListRecords", {})).records]

    assert answered in (["Ada"], ["Ada", "Bob"])
    assert values(path, "PRAGMA integrity_check") == ["ok"]


async def test_a_client_that_goes_away_while_a_backup_is_made_leaves_no_files(
    url: str, plant: Plant, folder: Path
) -> None:
    plant.users.insert_many([plant.user(name="x" * 500, email="") for _ in range(5000)])
    async with ConnectClient(url) as client:
        await client.call("UsersGetRecord", {"record_id": 1})
        making = asyncio.create_task(client.call("DatabaseBackupSqlite", {}))
        await eventually(lambda: left_over(folder))
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)
        await eventually(lambda: not left_over(folder))
        assert len((await client.call("DatabaseBackupSqlite", {})).data) > 2_000_000


async def test_the_page_may_add_two_bundles(plant: Plant) -> None:
    app = make_app(plant)
    app.add_bundle(build_storage_bundle(accessors=[plant.users], max_records_per_model=None))

    assert [rpc.name for rpc in app.contract.rpcs].count("DatabaseRestoreSqlite") == 1


async def test_without_db_actions_there_are_none(plant: Plant) -> None:
    bundle = build_storage_bundle(accessors=[plant.users], enable_db_actions=False)

    assert not [entry.name for entry in bundle.actions if entry.name.startswith("Database")]


async def test_the_backup_opens_with_any_sqlite(client: ConnectClient, plant: Plant) -> None:
    plant.add_user("Ada")
    made = await client.call("DatabaseBackupSqlite", {})
    other = sqlite3.connect(":memory:")
    other.deserialize(made.data)
    assert other.execute(NAMES).fetchall() == [("Ada",)]
    other.close()


async def test_on_postgresql_both_name_pg_dump(declared: Plant, postgresql_url: str) -> None:
    bootstrap(database_url=postgresql_url, create_tables=False)
    try:
        async with serving(make_app(declared)) as url, ConnectClient(url) as client:
            for rpc, request in (("DatabaseBackupSqlite", {}), ("DatabaseRestoreSqlite", {"bytes": b"x"})):
                with pytest.raises(RpcError, match="pg_dump") as refused:
                    await client.call(rpc, request)
                assert refused.value.code is Code.FAILED_PRECONDITION
    finally:
        set_database_url("sqlite://")
