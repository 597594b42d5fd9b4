"""Export: every table of some accessors, and the audit trail, as CSV files in a zip archive."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import sqlalchemy as sa

from storage.accessor import ModelAccessor
from storage.auditor import AuditLog
from storage.database import current_database
from storage.errors import NotSupported
from storage.records import RecordCodec, Values, codec_of
from storage.scope import translated
from storage.statements import Statement
from storage.transfer.archive_manifest import (
    LARGEST_ROW,
    MANIFEST,
    MOST_COMMAS,
    ArchivedTable,
    Manifest,
    archived_columns,
    file_of,
)
from storage.transfer.archive_order import parents_first
from storage.transfer.cells import cell_writer
from storage.transfer.disk import disk_errors_translated, put_in_place
from storage.transfer.workspace import workspace

_FIRST_PAGE, _LARGEST_PAGE = 16, 1024
_PAGE_CHARACTERS = 1 << 20
_COMPRESSION = 1  # three times as fast as zlib's default, for a tenth more bytes
_AFTER, _SIZE = "vention_after", "vention_size"


def export_archive(target: str | os.PathLike[str] | BinaryIO, accessors: Iterable[ModelAccessor[Any]]) -> Manifest:
    r"""Export the records of accessors, soft-deleted ones included, and the audit trail to a zip archive.

    The archive has a CSV file for each table (UTF-8, comma, a header, rows in the order of the keys; the cells as
    `storage.transfer.cells` says) and `manifest.json` with columns, the number of rows and the SHA-256 of each file.
    All of it is one state of the database, while others go on writing: until the export ends it holds one read
    transaction, on a connection of its own. Nobody waits for that, but meanwhile SQLite's write-ahead log only grows.
    What it needs of memory does not depend on how many records there are.

    A table without an accessor, as that between the two sides of a many-to-many relationship often is, is not exported,
    since only accessors import: the manifest names it as left out.

    Args:
        target: A path, which is replaced once the archive is whole, or a file open for writing bytes.
        accessors: Whose tables.

    Returns:
        What the archive holds.

    Raises:
        DatabaseUnavailable: The database cannot be read now, or the file not be written.
        NotSupported: A record has more than 128 MiB of text, or 16,777,216 commas in it.
        FileNotFoundError: There is no such folder.

    Example:
        >>> from sqlmodel import Field, SQLModel
        >>> from storage.bootstrap import bootstrap
        >>> class Drill(SQLModel, table=True):
        ...     id: int | None = Field(default=None, primary_key=True)
        ...     name: str
        >>> bootstrap(database_url="sqlite://")
        >>> drills = ModelAccessor(Drill, "drills")
        >>> _ = drills.insert(Drill(name="=cmd"))
        >>> archive = io.BytesIO()
        >>> [(table.file, table.rows) for table in export_archive(archive, [drills]).tables]
        [('drill.csv', 1), ('auditlog.csv', 1)]
        >>> ZipFile(archive).read("drill.csv").decode()
        "id,name\r\n1,'=cmd\r\n"
    """
    codecs: dict[sa.Table, RecordCodec[Any]] = {accessor.codec.table: accessor.codec for accessor in accessors}
    trail = codec_of(AuditLog)
    codecs.pop(trail.table, None)
    ordered = [*(codecs[table] for table in parents_first(codecs)), trail]
    if not isinstance(target, str | os.PathLike):
        return _write(target, ordered)
    place = Path(target)
    with disk_errors_translated(), workspace(place.parent) as room:
        made = room / "archive.zip"
        with made.open("wb") as file:
            manifest = _write(file, ordered)
        put_in_place(made, place)
    return manifest


def _write(file: BinaryIO, codecs: Iterable[RecordCodec[Any]]) -> Manifest:
    created = datetime.now(UTC)
    with ZipFile(file, "w", ZIP_DEFLATED, compresslevel=_COMPRESSION) as archive, _snapshot() as connection:
        tables = tuple(_write_table(archive, connection, codec, created) for codec in codecs)
        manifest = Manifest(created=created, tables=tables, left_out=_left_out(connection, tables))
        archive.writestr(_entry(MANIFEST, created), manifest.model_dump_json(indent=2))
    return manifest


@contextmanager
def _snapshot() -> Iterator[sa.Connection]:
    """A connection that sees one state of the database until it is closed."""
    database = current_database()
    with translated(database.dialect), database.engine.connect() as connection:
        database.dialect.begin_snapshot(connection)
        yield connection


def _left_out(connection: sa.Connection, tables: Iterable[ArchivedTable]) -> tuple[str, ...]:
    """The tables of the database of which the archive has nothing."""
    return tuple(sorted(set(sa.inspect(connection).get_table_names()) - {table.table for table in tables}))


def _entry(name: str, created: datetime) -> ZipInfo:
    entry = ZipInfo(name, created.timetuple()[:6])
    entry.compress_type = ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _write_table(
    archive: ZipFile, connection: sa.Connection, codec: RecordCodec[Any], created: datetime
) -> ArchivedTable:
    digest, rows, name = hashlib.sha256(), 0, file_of(codec.table.fullname)
    with archive.open(_entry(name, created), "w", force_zip64=True) as member:
        for count, text in _texts(connection, codec):
            content = text.encode()
            digest.update(content)
            member.write(content)
            rows += count
    return ArchivedTable(
        table=codec.table.fullname,
        file=name,
        rows=rows,
        sha256=digest.hexdigest(),
        key=codec.key.name,
        columns=archived_columns(codec),
    )


def _texts(connection: sa.Connection, codec: RecordCodec[Any]) -> Iterator[tuple[int, str]]:
    """The CSV file of a table in the order of the keys, a page at a time, with the number of its records."""
    key, size = codec.key.column, _FIRST_PAGE
    first = codec.select.order_by(key).limit(sa.bindparam(_SIZE))
    following = Statement(first.where(key > sa.bindparam(_AFTER)))
    rows, header = Statement(first).rows(connection, {_SIZE: size}), True
    while rows or header:
        page = [codec.values_of(row) for row in rows]
        text = _csv_of(codec, page, header=header)
        yield len(page), text
        if len(page) < size:
            return
        # As many next time as make a page of about that size, since one record may have a byte or a hundred million.
        size, header = max(1, min(_LARGEST_PAGE, len(page) * _PAGE_CHARACTERS // len(text))), False
        rows = following.rows(connection, {_AFTER: page[-1][codec.key.name], _SIZE: size})


def _csv_of(codec: RecordCodec[Any], page: Iterable[Values], *, header: bool) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")  # as RFC 4180 has it, and so that both characters are quoted
    if header:
        writer.writerow(codec.names)
    writers = [(column.name, cell_writer(column)) for column in codec.columns]
    for values in page:
        cells = [write(values[name]) for name, write in writers]
        length = writer.writerow(cells)
        if length > LARGEST_ROW or (length > MOST_COMMAS and _commas_of(cells) > MOST_COMMAS):
            message = f"{codec.model.__name__} {values[codec.key.name]} is larger than a row of an archive may be"
            raise NotSupported(message, hint="make a backup of the whole database instead")
    return text.getvalue()


def _commas_of(cells: Sequence[str]) -> int:
    return len(cells) - 1 + sum(cell.count(",") for cell in cells)
