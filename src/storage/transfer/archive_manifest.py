"""The manifest: what an archive holds, one entry a table."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from storage.auditor import AuditLog
from storage.columns import ColumnKind
from storage.records import RecordCodec

MANIFEST = "manifest.json"
"""The file of the archive that tells of the others."""
FORMAT: Literal["vention-storage-archive"] = "vention-storage-archive"
"""By which an archive is known."""
AUDIT_TABLE = str(AuditLog.__tablename__)
"""The table of the audit trail, which is exported to be read and never imported: entries are only added by writes."""
LARGEST_ROW = 128 << 20
"""The characters that one row may have, quotes and line ends included: what a reader must keep in memory at once."""
MOST_COMMAS = 1 << 24
"""The commas that one line may have: each may end a cell, and a reader keeps a row as a list of its cells."""


class _Part(BaseModel):
    """A part of the manifest; what later versions add is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ArchivedColumn(_Part):
    """A column of a file."""

    name: str
    """The attribute of the model, as in the header."""
    kind: ColumnKind
    """What it keeps, which decides how its cells are written."""
    nullable: bool
    """Whether it may be empty."""


class ArchivedTable(_Part):
    """A table and its file."""

    table: str
    """The table."""
    file: str
    """Its file in the archive."""
    rows: int
    """How many records it has, soft-deleted ones included."""
    sha256: str
    """The SHA-256 of the file, in hexadecimal digits."""
    key: str
    """The column that is the primary key."""
    columns: tuple[ArchivedColumn, ...]
    """Its columns, in the order of the header."""


class Manifest(_Part):
    """What an archive holds."""

    format: Literal["vention-storage-archive"] = FORMAT
    """What it is."""
    version: Literal[1] = 1
    """The version of the format."""
    created: datetime
    """When it was made, in UTC."""
    tables: tuple[ArchivedTable, ...]
    """Its tables, those first to which others refer."""
    left_out: tuple[str, ...] = ()
    """The other tables of the database, in the order of their names: no accessor was given that could import them."""


def file_of(table: str) -> str:
    """The name of the file of a table, safe on every file system.

    Example:
        >>> file_of("recipe"), file_of("parts/2")
        ('recipe.csv', 'parts%2F2.csv')
    """
    return f"{quote(table, safe=' ')}.csv"


def archived_columns(codec: RecordCodec[object]) -> tuple[ArchivedColumn, ...]:  # type: ignore[type-var]
    """The columns of a model as the manifest has them."""
    return tuple(
        ArchivedColumn(name=column.name, kind=column.kind, nullable=column.nullable) for column in codec.columns
    )
