"""RPCs that copy records out and in as CSV files: DatabaseExportZip and DatabaseImportZip."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectrpc.code import Code
from pydantic import BaseModel

from communication.contract.markers import Int64
from communication.entries import ActionEntry
from communication.errors import FieldViolation, RpcError
from storage.database import in_thread
from storage.rpc.actors import actor_of
from storage.rpc.errors import told_to_caller
from storage.rpc.served import served_accessors
from storage.transfer.archive_export import export_archive
from storage.transfer.archive_import import ImportMode, import_archive
from storage.transfer.archive_manifest import Manifest
from storage.transfer.archive_report import ImportReport

Content = bytes
"""The content of a file; a field that is itself called `bytes` cannot say so."""


class DatabaseExportedTable(BaseModel):
    """A table in an archive."""

    table: str
    """Its name."""
    file: str
    """The file in the archive."""
    rows: Int64
    """How many records it has, soft-deleted ones included."""


class ExportZipResponse(BaseModel):
    """What DatabaseExportZip answers."""

    filename: str
    """A name for the file, with the time in UTC."""
    data: bytes
    """The file: a zip archive."""
    tables: list[DatabaseExportedTable]
    """What it holds."""
    left_out: list[str]
    """The tables of the database that it does not hold, since no component serves them; a backup has them."""


class ImportZipRequest(BaseModel):
    """What DatabaseImportZip is asked with."""

    bytes: Content
    """The file that DatabaseExportZip gave."""
    mode: str = "merge"
    """`merge` leaves records alone that the archive does not have, `replace` removes them for good."""
    dry_run: bool = False
    """Whether to change nothing and only report."""
    actor: str = ""
    """Who does it; empty for the X-User header."""


class DatabaseImportedTable(BaseModel):
    """What became of one table."""

    table: str
    """Its name."""
    inserted: Int64
    """Records that were not there."""
    updated: Int64
    """Records that were there and differ."""
    unchanged: Int64
    """Records that were there just so."""
    removed: Int64
    """Records that were there and are not in the archive."""


class DatabaseBadRow(BaseModel):
    """Why a row was refused."""

    file: str
    """The file in the archive."""
    line: Int64 | None = None
    """The line on which the row starts, the header being line 1; absent for what concerns no row."""
    column: str = ""
    """The column, with a path into it where there is one; empty for the whole row."""
    message: str
    """What is wrong."""


class ImportZipResponse(BaseModel):
    """What DatabaseImportZip answers."""

    ok: bool
    """Whether no row is bad; always so but in a dry run, since an import of bad rows is an error."""
    message: str
    """What was done."""
    tables: list[DatabaseImportedTable]
    """What became of the tables, or would."""
    problems: list[DatabaseBadRow]
    """The bad rows, a thousand at most."""
    complete: bool
    """Whether all of the archive was looked at; False where there are more bad rows."""
    dry_run: bool
    """Whether nothing was changed."""


@dataclass(frozen=True)
class ExportZip:
    """Exports every table that is served, and the audit trail."""

    async def __call__(self) -> Mapping[str, Any]:
        """Answer the RPC."""
        with told_to_caller():
            manifest, data = await in_thread(_export)
        return {
            "filename": f"storage-{manifest.created:%Y%m%dT%H%M%SZ}.zip",
            "data": data,
            "tables": manifest.tables,
            "left_out": list(manifest.left_out),
        }


@dataclass(frozen=True)
class ImportZip:
    """Imports an archive."""

    async def __call__(self, request: ImportZipRequest) -> Mapping[str, Any]:
        """Answer the RPC."""
        mode: ImportMode
        if request.mode == "merge":
            mode = "merge"
        elif request.mode == "replace":
            mode = "replace"
        else:
            violation = FieldViolation(field="mode", description="must be merge or replace")
            raise RpcError(Code.INVALID_ARGUMENT, f"the request is invalid: {violation}", violations=[violation])
        with told_to_caller():
            actor = actor_of(request.actor)
            work = functools.partial(_import, request.bytes, mode=mode, dry_run=request.dry_run, actor=actor)
            report = await in_thread(work)
        return {
            "ok": report.ok,
            "message": _message(report),
            "tables": report.tables,
            "problems": [{**vars(problem), "column": problem.column or ""} for problem in report.problems],
            "complete": report.complete,
            "dry_run": report.dry_run,
        }


def archive_entries(max_request_bytes: int) -> list[ActionEntry]:
    """Make the entries of ExportZip and ImportZip.

    Args:
        max_request_bytes: The largest request of ImportZip.
    """
    return [
        ActionEntry("DatabaseExportZip", ExportZip(), None, ExportZipResponse, aliases=("Database_ExportZip",)),
        ActionEntry(
            "DatabaseImportZip",
            ImportZip(),
            ImportZipRequest,
            ImportZipResponse,
            aliases=("Database_ImportZip",),
            max_request_bytes=max_request_bytes,
        ),
    ]


def _export() -> tuple[Manifest, bytes]:
    file = io.BytesIO()
    manifest = export_archive(file, served_accessors())
    return manifest, file.getvalue()


def _import(data: bytes, *, mode: ImportMode, dry_run: bool, actor: str) -> ImportReport:
    return import_archive(io.BytesIO(data), served_accessors(), mode=mode, dry_run=dry_run, actor=actor)


def _message(report: ImportReport) -> str:
    if not report.ok:
        return f"{len(report.problems)} values are bad"
    count = sum(table.inserted + table.updated + table.removed for table in report.tables)
    return f"{count} records would change" if report.dry_run else f"{count} records changed"
