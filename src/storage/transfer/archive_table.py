"""One table of an archive and the accessor that writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from storage.accessor import ModelAccessor
from storage.columns import ColumnKind
from storage.errors import ArchiveInvalid, Problem, RecordInvalid
from storage.records import Values
from storage.scope import Scope, translated
from storage.transfer.archive_keys import KeyLog
from storage.transfer.archive_manifest import ArchivedTable
from storage.transfer.archive_reader import ArchivedRow
from storage.transfer.archive_report import TableReport
from storage.transfer.cells import cell_reader
from storage.values import Refused

_PAGE = 500
_INTEGERS = {ColumnKind.SMALLINT, ColumnKind.INTEGER, ColumnKind.BIGINT}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row as values, not validated yet."""

    line: int
    """The line on which it starts."""
    values: Values
    """Its values by attribute."""
    size: int
    """How many characters its cells have."""


class ImportedTable:
    """What an import writes into one table.

    Args:
        archived: The table in the archive.
        accessor: The accessor of its model.

    Raises:
        ArchiveInvalid: The archive has other columns than the model.
    """

    def __init__(self, archived: ArchivedTable, accessor: ModelAccessor[Any]) -> None:
        self.archived = archived
        self.codec = accessor.codec
        self.table = accessor.codec.table
        self.report = TableReport(table=archived.table)
        self._model = accessor.model
        self._writes = accessor.writes
        self._key = accessor.codec.key.name
        self._check_columns()
        columns = {column.name: column for column in self.codec.columns}
        self._readers = [(item.name, cell_reader(columns[item.name])) for item in archived.columns]
        # What the database computes cannot be written; what it fills in where there is nothing may have been nothing.
        self._computed = {name for name, column in columns.items() if column.column.computed is not None}
        self._filled = [
            name
            for name, column in columns.items()
            if column.nullable and column.column.server_default is not None and name not in self._computed
        ]

    def _check_columns(self) -> None:
        known = {column.name: column.kind for column in self.codec.columns}
        file, model = self.archived.file, self._model.__name__
        for column in self.archived.columns:
            if column.name not in known:
                raise ArchiveInvalid(f"{file} has the column {column.name!r}, which {model} does not have")
            kind = known[column.name]
            if kind is not column.kind and not {kind, column.kind} <= _INTEGERS:
                message = f"{file} has {column.kind.value} in the column {column.name!r}, and {model} has {kind.value}"
                raise ArchiveInvalid(message)
        if self._key not in {column.name for column in self.archived.columns}:
            raise ArchiveInvalid(f"{file} lacks the column {self._key!r}, which is the key of {model}")

    def row_of(self, row: ArchivedRow) -> Row:
        """Read the cells of a row.

        Raises:
            RecordInvalid: With every cell that cannot be read.
        """
        if len(row.cells) != len(self._readers):
            message = f"has {len(row.cells)} cells, the header has {len(self._readers)}"
            raise RecordInvalid(self._model.__name__, [Problem(field="", message=message)])
        values, problems = {}, []
        for (name, read), cell in zip(self._readers, row.cells, strict=True):
            try:
                values[name] = read(cell)
            except Refused as error:
                problems.append(Problem(field=name + error.path, message=str(error)))
        if problems:
            raise RecordInvalid(self._model.__name__, problems)
        written = {name: value for name, value in values.items() if name not in self._computed}
        return Row(line=row.line, values=written, size=sum(map(len, row.cells)))

    def key_of(self, row: ArchivedRow) -> Any:
        """The key of a row; None where it has none, or none that can be read, of which `row_of` tells."""
        place = [name for name, _ in self._readers].index(self._key)
        if len(row.cells) != len(self._readers):
            return None
        try:
            return self._readers[place][1](row.cells[place])
        except Refused:
            return None

    def put(self, scope: Scope, rows: Sequence[Row], actor: str) -> TableReport:
        """Insert the records that are not there and write what differs in the others.

        Args:
            scope: Where to write.
            rows: The records.
            actor: Who does it.

        Returns:
            What was done.
        """
        done = TableReport(table=self.archived.table)
        keys = [row.values[self._key] for row in rows if row.values[self._key] is not None]
        stored = self._stored(scope, [self.codec.validate_key(key) for key in keys])
        new: list[Row] = []
        for row in rows:
            key = row.values[self._key]
            if key not in stored:
                new.append(row)
                continue
            changes = {name: value for name, value in row.values.items() if name != self._key}
            changed = self._writes.put(scope, key, changes, actor)
            done.updated, done.unchanged = done.updated + changed, done.unchanged + (not changed)
        if new:
            self._insert(scope, new, actor)
        done.inserted = len(new)
        return done

    def remove(self, scope: Scope, keys: Sequence[Any], actor: str) -> TableReport:
        """Remove records for good, so that the table has what the archive has and nothing else."""
        removed = self._writes.delete(scope, keys, actor, for_good=True)
        return TableReport(table=self.archived.table, removed=removed)

    def keys_beyond(self, scope: Scope, archived: KeyLog) -> Iterator[list[Any]]:
        """The keys of the records that the archive does not have, some at a time."""
        key = self.codec.key.column
        page = sa.select(key).order_by(key).limit(_PAGE)
        after: Any = None
        while True:
            with translated(scope.dialect):
                found = scope.connection.scalars(page if after is None else page.where(key > after)).all()
            if beyond := [item for item in found if item not in archived]:
                yield beyond
            if len(found) < _PAGE:
                return
            after = found[-1]

    def _insert(self, scope: Scope, rows: Sequence[Row], actor: str) -> None:
        instances = [self._model(**row.values) for row in rows]
        self._writes.insert(scope, instances, actor, [self.codec.validate(instance) for instance in instances])
        for row, instance in zip(rows, instances, strict=True):
            empty = [name for name in self._filled if name in row.values and row.values[name] is None]
            if any(getattr(instance, name) is not None for name in empty):
                self._writes.put(scope, getattr(instance, self._key), dict.fromkeys(empty), actor)

    def without_references(self, row: Row) -> Row | None:
        """The row without what it refers to, where that may be missing; None where there is nothing to leave out."""
        optional = {
            column.name
            for column in self.codec.columns
            if column.nullable and column.column.foreign_keys and row.values.get(column.name) is not None
        }
        return replace(row, values={**row.values, **dict.fromkeys(optional)}) if optional else None

    def _stored(self, scope: Scope, keys: list[Any]) -> set[Any]:
        """Those of the keys that are in the table."""
        key = self.codec.key.column
        with translated(scope.dialect):
            return set(scope.connection.scalars(sa.select(key).where(key.in_(keys)))) if keys else set()
