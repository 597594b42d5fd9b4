"""RPCs that copy the whole database out and in: DatabaseBackupSqlite and DatabaseRestoreSqlite."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from communication.contract.markers import Int64
from communication.entries import ActionEntry
from storage.database import in_thread
from storage.rpc.actors import actor_of
from storage.rpc.errors import told_to_caller
from storage.transfer.backup import backup_in_memory
from storage.transfer.restore import MAX_BYTES, restore

Content = bytes
"""The content of a file; a field that is itself called `bytes` cannot say so."""


class BackupSqliteRequest(BaseModel):
    """What DatabaseBackupSqlite is asked with."""

    actor: str = ""
    """Who does it; empty for the X-User header."""


class BackupSqliteResponse(BaseModel):
    """What DatabaseBackupSqlite answers."""

    filename: str
    """A name for the file, with the time in UTC."""
    data: bytes
    """The file: a SQLite database."""
    sha256: str
    """Its SHA-256, in hexadecimal digits."""


class RestoreSqliteRequest(BaseModel):
    """What DatabaseRestoreSqlite is asked with."""

    bytes: Content
    """The file that DatabaseBackupSqlite gave."""
    filename: str = ""
    """What the audit trail is to call it."""
    integrity_check: bool = True
    """Whether its indexes are compared with its tables, and each row with its model, too, which takes longer."""
    dry_run: bool = False
    """Whether to stop before anything changes."""
    actor: str = ""
    """Who does it; empty for the X-User header."""


class RestoredTable(BaseModel):
    """A table of a file that was restored."""

    table: str
    """Its name."""
    rows: Int64
    """How many rows it has."""


class RestoreSqliteResponse(BaseModel):
    """What DatabaseRestoreSqlite answers."""

    ok: bool
    """True; a file that cannot be restored is an error."""
    message: str
    """What was done."""
    filename: str
    """What the audit trail calls the file."""
    sha256: str
    """The SHA-256 of the file, in hexadecimal digits."""
    tables: list[RestoredTable]
    """What the file holds."""
    safety_copy: str
    """The name of the file, beside the database, that has the database as it was before; empty for a dry run."""
    dry_run: bool
    """Whether nothing was changed."""


@dataclass(frozen=True)
class BackupSqlite:
    """Backs the database up."""

    async def __call__(self, request: BackupSqliteRequest) -> Mapping[str, Any]:
        """Answer the RPC."""
        with told_to_caller():
            made, content = await in_thread(functools.partial(backup_in_memory, actor=actor_of(request.actor)))
        return {"filename": made.filename, "data": content, "sha256": made.sha256}


@dataclass(frozen=True)
class RestoreSqlite:
    """Makes the database what a backup holds."""

    async def __call__(self, request: RestoreSqliteRequest) -> Mapping[str, Any]:
        """Answer the RPC."""
        with told_to_caller():
            work = functools.partial(
                restore,
                io.BytesIO(request.bytes),
                filename=request.filename,
                actor=actor_of(request.actor),
                integrity_check=request.integrity_check,
                dry_run=request.dry_run,
                max_bytes=len(request.bytes),  # the largest request bounds it already
            )
            done = await in_thread(work)
        kept = "" if done.safety_copy is None else done.safety_copy.name
        return {
            "ok": True,
            "message": f"the database is restored; as it was before it is in {kept}" if kept else "the file is sound",
            "filename": done.filename,
            "sha256": done.sha256,
            "tables": [{"table": table, "rows": rows} for table, rows in done.rows.items()],
            "safety_copy": kept,
            "dry_run": request.dry_run,
        }


def backup_entries(max_request_bytes: int = MAX_BYTES) -> list[ActionEntry]:
    """Make the entries of BackupSqlite and RestoreSqlite.

    Args:
        max_request_bytes: The largest request of RestoreSqlite.
    """
    return [
        ActionEntry(
            "DatabaseBackupSqlite",
            BackupSqlite(),
            BackupSqliteRequest,
            BackupSqliteResponse,
            aliases=("Database_BackupSqlite",),
        ),
        ActionEntry(
            "DatabaseRestoreSqlite",
            RestoreSqlite(),
            RestoreSqliteRequest,
            RestoreSqliteResponse,
            aliases=("Database_RestoreSqlite",),
            max_request_bytes=max_request_bytes,
        ),
    ]
