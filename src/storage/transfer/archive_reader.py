"""Reading an archive that came from outside: nothing in it is believed before it was checked."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from pydantic import ValidationError

from storage.errors import ArchiveInvalid
from storage.transfer.archive_manifest import LARGEST_ROW, MANIFEST, MOST_COMMAS, ArchivedTable, Manifest

_LARGEST_MANIFEST = 2 << 20
_ALWAYS_ALLOWED = 1 << 30
"""The bytes to which any archive may grow when it is unpacked; beyond, its size decides."""
_LARGEST_RATIO = 100
"""How many times its own size an archive may grow; real tables grow tenfold, a bomb a thousandfold."""
_LARGEST_READ = 4 << 20
"""The bytes that are read at once: more only the list of the files of an archive can ask for, if there are too many."""
_CHUNK = 1 << 20
_ENCRYPTED = 0x1
_BROKEN = (
    BadZipFile,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    csv.Error,
    struct.error,
    zlib.error,
)
"""What Python's readers of zip and CSV files raise on files that are none."""


@dataclass(frozen=True, kw_only=True)
class ArchivedRow:
    """One row of a file."""

    line: int
    """The line on which it starts; the header is line 1."""
    cells: list[str]
    """Its cells."""


class Archive:
    """An archive whose files are the ones that its manifest tells of.

    Args:
        zip_file: The open archive.
        size: Its size in bytes.

    Raises:
        ArchiveInvalid: It is damaged, hostile or none of ours.
    """

    def __init__(self, zip_file: ZipFile, size: int) -> None:
        self._zip = zip_file
        entries = zip_file.infolist()
        _check_names(entries)
        _check_sizes(entries, size)
        self.manifest = self._read_manifest()
        _check_manifest(self.manifest, {entry.filename for entry in entries})

    def size_of(self, table: ArchivedTable) -> int:
        """The bytes of a file once it is unpacked."""
        return self._zip.getinfo(table.file).file_size

    def verify(self) -> None:
        """Read every file once and compare it with the manifest.

        Raises:
            ArchiveInvalid: A file is damaged or was changed.
        """
        for table in self.manifest.tables:
            digest = hashlib.sha256()
            with _damage_told(_damaged(table.file)), self._zip.open(table.file) as member:
                while chunk := member.read(_CHUNK):
                    digest.update(chunk)
            if digest.hexdigest() != table.sha256.lower():
                message = f"{table.file} in the archive is not what its manifest says: another SHA-256"
                raise ArchiveInvalid(message, hint="export again, and import the archive as it is")

    def rows(self, table: ArchivedTable) -> Iterator[ArchivedRow]:
        """The rows of a file, one at a time.

        Raises:
            ArchiveInvalid: The file is no CSV, not in UTF-8, or its header differs from the manifest.
        """
        # The limit is one of the whole process; raising it to what an archive may have harms no other reader.
        csv.field_size_limit(max(csv.field_size_limit(), LARGEST_ROW))
        with _damage_told(f"{table.file} is not a CSV file in UTF-8"), self._zip.open(table.file) as member:
            lines = _Lines(member, table.file)
            reader = csv.reader(lines, strict=True)
            if next(reader, []) != [column.name for column in table.columns]:
                raise ArchiveInvalid(f"the header of {table.file} differs from the manifest")
            count, line = 0, reader.line_num
            for cells in reader:
                yield ArchivedRow(line=line + 1, cells=cells)
                count, line = count + 1, reader.line_num
                lines.row_ended()
            if count != table.rows:
                raise ArchiveInvalid(f"{table.file} has {count} rows, in the manifest there are {table.rows}")

    def _read_manifest(self) -> Manifest:
        if MANIFEST not in self._zip.namelist():
            hint = "import what DatabaseExportZip or export_archive() made"
            raise ArchiveInvalid(f"the archive has no {MANIFEST}", hint=hint)
        if self._zip.getinfo(MANIFEST).file_size > _LARGEST_MANIFEST:
            raise ArchiveInvalid(f"{MANIFEST} is larger than {_LARGEST_MANIFEST >> 20} MiB")
        with _damage_told(_damaged(MANIFEST)), self._zip.open(MANIFEST) as member:
            text = member.read(_LARGEST_MANIFEST)
        try:
            return Manifest.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ArchiveInvalid(f"{MANIFEST} is not one of this version: {place} {first['msg']}".lower()) from error


@contextmanager
def open_archive(source: str | os.PathLike[str] | BinaryIO) -> Iterator[Archive]:
    """Open an archive and check what it is, before anything in it is used.

    Args:
        source: A path, or a file open for reading bytes that can be wound back.

    Raises:
        ArchiveInvalid: It is damaged, hostile or none of ours.
    """
    if isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as file, open_archive(file) as archive:
            yield archive
        return
    size = source.seek(0, os.SEEK_END)
    with _damage_told("the file is not a zip archive, or it is damaged or cut off"):
        opened = ZipFile(cast("BinaryIO", _Sips(source)))
    with opened:
        yield Archive(opened, size)


class _Sips:
    """A file of which little is read at once, since zipfile asks for as much as a hostile archive tells it to."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > _LARGEST_READ:
            raise ArchiveInvalid("the archive has too many files")
        return self._file.read(size)


class _Lines:
    """The lines of a file for the CSV reader, which keeps a whole row in memory: no more than a row may have."""

    def __init__(self, member: IO[bytes], name: str) -> None:
        self._text = io.TextIOWrapper(member, encoding="utf-8-sig", newline="")
        self._name = name
        self._read = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LARGEST_ROW - self._read + 1)
        self._read += len(line)
        if self._read > LARGEST_ROW:
            raise ArchiveInvalid(f"{self._name} has a row of more than {LARGEST_ROW >> 20} MiB")
        if len(line) > MOST_COMMAS and line.count(",") > MOST_COMMAS:
            raise ArchiveInvalid(f"{self._name} has a line of more than {MOST_COMMAS} commas")
        if not line:
            raise StopIteration
        return line

    def row_ended(self) -> None:
        """The row is complete: the next one starts."""
        self._read = 0


@contextmanager
def _damage_told(message: str) -> Iterator[None]:
    """Say in our terms that something in the archive cannot be read."""
    try:
        yield
    except ArchiveInvalid:
        raise
    except _BROKEN as error:
        raise ArchiveInvalid(message) from error


def _damaged(name: str) -> str:
    return f"{name} in the archive is damaged"


def _check_names(entries: list[ZipInfo]) -> None:
    names = set()
    for entry in entries:
        name = entry.filename
        if name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts:
            raise ArchiveInvalid(f"the archive has the file {name!r}, whose path leads out of it")
        if name in names:
            raise ArchiveInvalid(f"the archive has two files named {name!r}")
        if entry.flag_bits & _ENCRYPTED or entry.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
            raise ArchiveInvalid(f"{name!r} in the archive is encrypted, or compressed in a way that is not deflate")
        names.add(name)


def _check_sizes(entries: list[ZipInfo], size: int) -> None:
    """Refuse a bomb; that no file gives more bytes than it says here is seen to by Python's zipfile."""
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > max(_ALWAYS_ALLOWED, size * _LARGEST_RATIO):
        message = f"the archive has {size} bytes and would grow to {unpacked}, as no real one does"
        raise ArchiveInvalid(message)


def _check_manifest(manifest: Manifest, names: set[str]) -> None:
    told = [table.file for table in manifest.tables]
    tables = [table.table for table in manifest.tables]
    for what in (told, tables, *([column.name for column in table.columns] for table in manifest.tables)):
        if len(set(what)) < len(what):
            raise ArchiveInvalid(f"{MANIFEST} has something twice: {', '.join(sorted(what))}")
    if missing := set(told) - names:
        raise ArchiveInvalid(f"the archive lacks {', '.join(sorted(missing))}, of which its manifest tells")
    if unknown := names - {MANIFEST, *told}:
        raise ArchiveInvalid(f"the archive has {', '.join(sorted(unknown))}, of which its manifest does not tell")
