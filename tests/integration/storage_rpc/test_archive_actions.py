"""DatabaseExportZip and DatabaseImportZip as a caller sees them."""

from __future__ import annotations

import asyncio
import base64
import csv
import hashlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from connectrpc.code import Code

from communication.app import VentionApp
from communication.client import ConnectClient
from communication.decorators import Registry
from communication.errors import RpcError
from storage.accessor import ModelAccessor
from storage.database import in_thread, transaction
from storage.rpc import served
from storage.vention_communication import build_storage_bundle
from tests.integration.storage_rpc.cell import Cell, open_database
from tests.integration.storage_rpc.cell import served as serving_app
from tests.integration.storage_rpc.models import Errand, Formula, Person

HOW_TO = """
# Using ConnectRPC client
from communication.client import ConnectClient

client = ConnectClient("http://localhost:8000")
response = await client.call("Database_ExportZip", {})
with open("backup.zip", "wb") as f:
    f.write(response.data)
"""
"""As the page prints it."""


@pytest.fixture(autouse=True)
def nothing_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the test itself serves."""
    monkeypatch.setattr(served, "_by_table", {})


@pytest.fixture
async def client(cell: Cell) -> AsyncIterator[ConnectClient]:
    async with ConnectClient(cell.url, headers={"X-User": "ada"}) as connected:
        yield connected


def rows(archive: bytes, file: str) -> list[dict[str, str]]:
    with ZipFile(io.BytesIO(archive)) as opened:
        return list(csv.DictReader(io.StringIO(opened.read(file).decode(), newline="")))


async def test_the_how_to_of_the_page_on_a_database_that_is_written(cell: Cell) -> None:
    """Each write adds a person and an errand of theirs, so one state of the database has as many of each."""
    stop, written = asyncio.Event(), asyncio.Event()

    def write() -> None:
        with transaction():
            person = cell.people.insert(Person(name="Ada"))
            cell.errands.insert(Errand(title="=go", person_id=person.id))

    async def keep_writing() -> None:
        while not stop.is_set():
            await in_thread(write)
            written.set()

    writer = asyncio.create_task(keep_writing())
    await asyncio.wait_for(written.wait(), 10)
    try:
        program = "async def how_to():\n" + "".join(f"    {line}\n" for line in HOW_TO.splitlines())
        namespace: dict[str, Any] = {}
        exec(program.replace("http://localhost:8000", cell.url), namespace)  # noqa: S102 - what the page prints
        await namespace["how_to"]()
    finally:
        stop.set()
        await asyncio.wait_for(writer, 10)
    archive = Path("backup.zip").read_bytes()  # noqa: ASYNC240 - nothing else runs by now
    people, errands = rows(archive, "person.csv"), rows(archive, "errand.csv")
    assert people
    assert [errand["person_id"] for errand in errands] == [person["id"] for person in people]
    assert {errand["title"] for errand in errands} == {"'=go"}


async def test_what_is_exported_comes_back(cell: Cell, client: ConnectClient) -> None:
    cell.people.insert_many([Person(name="Ada", badge="A"), Person(name="Bob")])
    cell.people.delete(2)
    cell.errands.insert(Errand(title="x", person_id=1))
    exported = await client.call("DatabaseExportZip")
    assert exported.filename.startswith("storage-20")
    assert exported.filename.endswith("Z.zip")
    counts = {table.table: table.rows for table in exported.tables}
    assert (counts["person"], counts["errand"], counts["auditlog"]) == (2, 1, 4)
    before = [person.model_dump() for person in cell.people.all(include_deleted=True)]
    cell.errands.delete(1)
    cell.people.restore(2)
    cell.people.insert(Person(name="Eve"))

    imported = await client.call("Database_ImportZip", {"bytes": exported.data, "mode": "replace"})

    assert (imported.ok, imported.dry_run, imported.complete, imported.problems) == (True, False, True, [])
    done = {table.table: (table.inserted, table.updated, table.removed) for table in imported.tables}
    assert (done["person"], done["errand"]) == ((0, 1, 1), (1, 0, 0))
    assert [person.model_dump() for person in cell.people.all(include_deleted=True)] == before
    assert {entry.actor for entry in cell.trail("people")[-2:]} == {"ada"}


async def test_a_dry_run_changes_nothing(cell: Cell, client: ConnectClient) -> None:
    cell.formulas.insert(Formula(code="x"))
    data = (await client.call("DatabaseExportZip")).data
    cell.formulas.insert(Formula(code="y"))

    report = await client.call("DatabaseImportZip", {"bytes": data, "mode": "replace", "dry_run": True})

    assert (report.ok, report.dry_run, report.message) == (True, True, "1 records would change")
    assert [formula.code for formula in cell.formulas.all()] == ["x", "y"]


def with_bad_rows(data: bytes, count: int) -> bytes:
    """The archive with formulas whose grams are no numbers."""
    with ZipFile(io.BytesIO(data)) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    manifest = json.loads(files["manifest.json"])
    columns = next(table for table in manifest["tables"] if table["table"] == "formula")["columns"]
    header = ",".join(column["name"] for column in columns)
    lines = "".join(f"f{number},heavy,\r\n" for number in range(count))
    content = f"{header}\r\n{lines}".encode()
    for table in manifest["tables"]:
        if table["table"] == "formula":
            table |= {"rows": count, "sha256": hashlib.sha256(content).hexdigest()}
    archive = io.BytesIO()
    with ZipFile(archive, "w") as opened:
        for name, text in {**files, "formula.csv": content, "manifest.json": json.dumps(manifest).encode()}.items():
            opened.writestr(name, text)
    return archive.getvalue()


async def test_bad_rows_are_an_error_and_a_report_of_a_dry_run(cell: Cell, client: ConnectClient) -> None:
    data = with_bad_rows((await client.call("DatabaseExportZip")).data, 30)

    with pytest.raises(RpcError) as caught:
        await client.call("DatabaseImportZip", {"bytes": data})
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert "nothing was imported, 30 of its values are bad: formula.csv line 2: grams must be a number" in str(
        caught.value
    )
    assert [item.field for item in caught.value.violations][:2] == ["formula.csv:2:grams", "formula.csv:3:grams"]
    assert len(caught.value.violations) == 20

    report = await client.call("DatabaseImportZip", {"bytes": data, "dry_run": True})
    assert (report.ok, len(report.problems)) == (False, 30)
    first = report.problems[0]
    assert (first.file, first.line, first.column, first.message) == ("formula.csv", 2, "grams", "must be a number")
    assert cell.formulas.all() == []


async def test_what_is_no_archive(cell: Cell) -> None:
    body = {"bytes": base64.b64encode(b"no zip").decode()}
    answer = await cell.call("DatabaseImportZip", body)
    assert answer.error == (400, "invalid_argument")
    assert "not a zip archive" in answer.body["message"]


async def test_an_unknown_mode(cell: Cell) -> None:
    answer = await cell.call("DatabaseImportZip", {"bytes": "", "mode": "overwrite"})
    assert answer.error == (400, "invalid_argument")
    assert answer.violations == {"mode": "must be merge or replace"}


async def test_only_an_import_may_be_larger_than_other_requests(cell: Cell) -> None:
    large = base64.b64encode(bytes(5 << 20)).decode()
    assert (await cell.call("DatabaseImportZip", {"bytes": large})).error == (400, "invalid_argument")
    assert (await cell.call("FormulasCreateRecord", {"record": {"code": large}})).body["code"] == "resource_exhausted"
    app = VentionApp(name="cell", registry=Registry())
    app.add_bundle(build_storage_bundle(accessors=[cell.formulas], max_upload_bytes=1 << 20))
    async with serving_app(app) as (_, call):
        assert (await call("DatabaseImportZip", {"bytes": large})).body["code"] == "resource_exhausted"


async def test_bundles_that_come_one_after_the_other_export_what_all_of_them_serve(url: str) -> None:
    """As on the page, where the second bundle is added to an app that is finalized."""
    open_database(url)
    people, formulas = ModelAccessor(Person, "people"), ModelAccessor(Formula, "formulas")
    people.insert(Person(name="Ada"))
    formulas.insert(Formula(code="x"))
    app = VentionApp(name="cell", registry=Registry())
    app.add_bundle(build_storage_bundle(accessors=[people]))
    app.finalize()
    app.add_bundle(build_storage_bundle(accessors=[people, formulas]))
    async with serving_app(app) as (base_url, _), ConnectClient(base_url) as client:
        exported = await client.call("DatabaseExportZip")
    assert {table.table: table.rows for table in exported.tables} == {"formula": 1, "person": 1, "auditlog": 2}
    assert "errand" in exported.left_out  # which no bundle serves
    assert not {"formula", "person", "auditlog"} & set(exported.left_out)
