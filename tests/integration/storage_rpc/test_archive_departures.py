"""Clients that go away half-way through an import or an export: nothing half-done stays."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from connectrpc.code import Code
from sqlmodel import Session

from communication.client import ConnectClient
from communication.errors import RpcError
from storage.database import get_engine
from storage.rpc import served
from storage.transfer.archive_export import export_archive
from tests.integration.storage_rpc.cell import SERVICE, Cell
from tests.integration.storage_rpc.models import Formula
from tests.serving import PATIENCE, eventually

COUNT = 700
"""More than are written at once."""


@pytest.fixture(autouse=True)
def nothing_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "_by_table", {})


@pytest.fixture
async def archive(cell: Cell) -> bytes:
    """Formulas that are deleted in the database."""
    keys = [f"{number:04}" for number in range(COUNT)]
    cell.formulas.insert_many([Formula(code=key) for key in keys])
    async with ConnectClient(cell.url) as client:
        data: bytes = (await client.call("DatabaseExportZip")).data
    cell.formulas.delete_many(keys)
    return data


@pytest.fixture
def database_path(tmp_path: Path) -> Path:
    return tmp_path / "machine.db"


@pytest.fixture
def url(database_path: Path) -> str:
    """SQLite only, whose temporary files are beside it."""
    return f"sqlite:///{database_path}"


class Halt:
    """Stops an import in the middle, at a record, until it is told to go on."""

    def __init__(self, cell: Cell) -> None:
        self._reached, self._go_on = threading.Event(), threading.Event()

        @cell.formulas.after_update()
        def wait(session: Session, instance: Formula) -> None:
            if instance.code == f"{COUNT - 50:04}":
                self._reached.set()
                self._go_on.wait(PATIENCE)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, PATIENCE)

    def go_on(self) -> None:
        self._go_on.set()


@pytest.fixture
def halt(cell: Cell) -> Iterator[Halt]:
    made = Halt(cell)
    yield made
    made.go_on()


def temporary_files(database: Path) -> list[str]:
    return [path.name for path in database.parent.iterdir() if path.name.startswith(".")]


async def connect(cell: Cell, rpc: str, body: dict[str, Any]) -> tuple[asyncio.StreamWriter, bytes]:
    """A connection on which the head of a request was sent, and what is to follow."""
    content, place = json.dumps(body).encode(), urlsplit(cell.url)
    _, writer = await asyncio.open_connection(place.hostname, place.port)
    head = f"POST /rpc/{SERVICE}/{rpc} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode())
    return writer, content


async def go_away(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def whole_import(cell: Cell, database: Path) -> None:
    """Wait until the import, which nobody can stop half-way, has ended."""
    await eventually(lambda: not temporary_files(database))
    assert [formula.code for formula in cell.formulas.all()] == [f"{number:04}" for number in range(COUNT)]
    assert len(cell.trail("formulas")) == 3 * COUNT


async def test_a_connection_that_breaks_during_an_import(
    cell: Cell, archive: bytes, halt: Halt, database_path: Path
) -> None:
    writer, content = await connect(cell, "DatabaseImportZip", {"bytes": base64.b64encode(archive).decode()})
    writer.write(content)
    await halt.reached()
    assert temporary_files(database_path)
    await go_away(writer)
    assert cell.formulas.all() == []  # nobody sees half of it

    halt.go_on()

    await whole_import(cell, database_path)


async def test_a_deadline_that_passes_during_an_import(
    cell: Cell, archive: bytes, halt: Halt, database_path: Path
) -> None:
    async with ConnectClient(cell.url) as client:
        with pytest.raises((RpcError, TimeoutError)) as caught:
            await client.call("DatabaseImportZip", {"bytes": archive}, timeout=1)
    assert not isinstance(caught.value, RpcError) or caught.value.code in {Code.DEADLINE_EXCEEDED, Code.CANCELED}
    await halt.reached()

    halt.go_on()

    await whole_import(cell, database_path)


async def test_a_connection_that_breaks_during_the_upload(cell: Cell, archive: bytes, database_path: Path) -> None:
    writer, content = await connect(cell, "DatabaseImportZip", {"bytes": base64.b64encode(archive).decode()})
    writer.write(content[:-10])
    await writer.drain()
    await go_away(writer)

    assert (await cell.call("DatabaseHealth")).status == 200
    assert cell.formulas.all() == []
    assert len(cell.trail("formulas")) == 2 * COUNT
    assert temporary_files(database_path) == []


async def test_a_connection_that_breaks_during_an_export(
    cell: Cell, database_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read transaction of the export ends all the same, or the log would grow for ever."""
    started, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def halting(*arguments: Any) -> Any:
        started.set()
        go_on.wait(PATIENCE)
        try:
            return export_archive(*arguments)
        finally:
            ended.set()

    monkeypatch.setattr("storage.rpc.archive.export_archive", halting)
    cell.formulas.insert(Formula(code="x"))
    writer, content = await connect(cell, "DatabaseExportZip", {})
    writer.write(content)
    assert await asyncio.to_thread(started.wait, PATIENCE)
    await go_away(writer)
    go_on.set()
    assert await asyncio.to_thread(ended.wait, PATIENCE)

    with get_engine().connect() as connection:
        (busy, *_) = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    assert busy == 0
    assert temporary_files(database_path) == []
