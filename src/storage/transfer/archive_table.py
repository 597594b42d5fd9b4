"""One table of an archive: its rows on their way through the accessor that writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from storage.accessor import ModelAccessor
from storage.errors import ConstraintViolation, DuplicateRecord, RecordInvalid
from storage.records import Values
from storage.scope import Scope, translated
from storage.transfer.archive_manifest import ArchivedTable
from storage.transfer.archive_reader import Archive, ArchivedRow
from storage.transfer.archive_report import Problems, TableReport
from storage.transfer.archive_rows import Row, RowReader
from storage.transfer.archive_staging import Staging

_PAGE = 500
_TWICE = "is the key of an earlier row as well"


class ImportedTable:
    """What an import writes into one table.

    Args:
        archived: The table in the archive.
        accessor: The accessor of its model.
        staging: Where rows are kept from when they are read until they are written.

    Raises:
        ArchiveInvalid: The archive has other columns than the model.
    """

    def __init__(self, archived: ArchivedTable, accessor: ModelAccessor[Any], staging: Staging) -> None:
        self.archived = archived
        self.codec = accessor.codec
        self.table = accessor.codec.table
        self.report = TableReport(table=archived.table)
        self._writes = accessor.writes
        self._key = accessor.codec.key.name
        self._reader = RowReader(archived, accessor)
        self._staging = staging
        # What the database fills in where there is nothing may have been nothing.
        self._filled = [
            column.name
            for column in self.codec.columns
            if column.name in self._reader.written and column.nullable and column.column.server_default is not None
        ]

    # reading

    def read(self, archive: Archive, problems: Problems) -> None:
        """Read every row, and keep the good ones; the database has no part in it.

        Args:
            archive: The archive.
            problems: Where to note what is bad.

        Raises:
            ArchiveInvalid: The file is no CSV.
            TooManyProblems: The report is full.
        """
        for row in archive.rows(self.archived):
            good, key = self._read_row(row, problems)
            if key is not None and not self._staging.add_key(key):
                problems.add(file=self.archived.file, line=row.line, column=self._key, message=_TWICE)
            elif good is not None:
                self._staging.add(good, size=sum(map(len, row.cells)))

    def _read_row(self, row: ArchivedRow, problems: Problems) -> tuple[Row | None, Any]:
        """A row, None where it is bad, and its key: the one that the model made of it, where it is good."""
        try:
            good = self._reader.row_of(row)
        except RecordInvalid as error:
            self.refuse(problems, row.line, error)
            return None, self._reader.key_of(row)
        return good, good.values[self._key]

    def batches(self) -> Iterator[list[Row]]:
        """The good rows in their order, some at a time."""
        return self._staging.batches()

    def refuse(self, problems: Problems, line: int, error: Exception) -> None:
        """Note why a row was refused, one entry for each column where that is known.

        Raises:
            TooManyProblems: The report is full.
        """
        found: list[tuple[str | None, str]] = [(None, str(error) or "a hook refused it")]
        if isinstance(error, RecordInvalid):
            found = [(problem.field or None, problem.message) for problem in error.problems]
        elif isinstance(error, DuplicateRecord) and error.columns:
            names = {column.column.name: column.name for column in self.codec.columns}
            found = [(names.get(name, name), "is taken by another record") for name in error.columns]
        elif isinstance(error, ConstraintViolation):  # whose text is SQL
            found = [(None, "would break a constraint of the table")]
        for column, message in found:
            problems.add(file=self.archived.file, line=line, column=column, message=message)

    # writing

    def put(self, scope: Scope, rows: Sequence[Row], actor: str) -> TableReport:
        """Insert the records that are not there and write what differs in the others.

        Args:
            scope: Where to write.
            rows: The records.
            actor: Who does it.

        Returns:
            What was done.
        """
        done, stored = TableReport(table=self.archived.table), self._stored(scope, rows)
        new: list[Row] = []
        different: list[tuple[Values, Values]] = []
        hooked = False  # whether a hook ran, which may have written what was read before
        for row in rows:
            key = row.values[self._key]
            before = stored.get(key)
            if before is None:
                new.append(row)
                continue
            changes = self._changes(row, before)
            if self._writes.hooks_changes and (changes or hooked):
                hooked = True
                done.updated += self._writes.put(scope, key, self._written_of(row), actor)
            elif changes:
                different.append((before, changes))
        self._writes.put_values(scope, different, actor)
        self._insert(scope, new, actor)
        done.updated += len(different)
        done.inserted, done.unchanged = len(new), len(rows) - len(new) - done.updated
        return done

    def remove(self, scope: Scope, keys: Sequence[Any], actor: str) -> TableReport:
        """Remove records for good, so that the table has what the archive has and nothing else."""
        removed = self._writes.delete(scope, keys, actor, for_good=True)
        return TableReport(table=self.archived.table, removed=removed)

    def keys_beyond(self, scope: Scope) -> Iterator[list[Any]]:
        """The keys of the records that the archive does not have, some at a time."""
        key = self.codec.key.column
        page = sa.select(key).order_by(key).limit(_PAGE)
        after: Any = None
        while True:
            with translated(scope.dialect):
                found = scope.connection.scalars(page if after is None else page.where(key > after)).all()
            if beyond := [item for item in found if item not in self._staging]:
                yield beyond
            if len(found) < _PAGE:
                return
            after = found[-1]

    def without_references(self, row: Row) -> Row | None:
        """The row without what it refers to, where that may be missing; None where there is nothing to leave out."""
        optional = {
            column.name
            for column in self.codec.columns
            if column.nullable and column.column.foreign_keys and row.values.get(column.name) is not None
        }
        return replace(row, values={**row.values, **dict.fromkeys(optional)}) if optional else None

    def _stored(self, scope: Scope, rows: Sequence[Row]) -> dict[Any, Values]:
        """The records of some rows that are there, by their keys."""
        keys = [row.values[self._key] for row in rows if row.values[self._key] is not None]
        with translated(scope.dialect):
            found = scope.connection.execute(self.codec.select.where(self.codec.key.column.in_(keys))).all()
        records = [self.codec.values_of(tuple(record)) for record in found]
        return {record[self._key]: record for record in records}

    def _changes(self, row: Row, before: Values) -> Values:
        """What a row has otherwise than the record that is there."""
        values = row.values
        if self._reader.is_partial:
            values = self._reader.validated({**before, **self._written_of(row)})
        return self.codec.differing(self._reader.written, values, before)

    def _written_of(self, row: Row) -> Values:
        return {name: row.values[name] for name in self._reader.written}

    def _insert(self, scope: Scope, rows: Sequence[Row], actor: str) -> None:
        if not rows:
            return
        records = [self._reader.validated(row.values) if self._reader.is_partial else row.values for row in rows]
        inserted = self._writes.insert_values(scope, records, actor)
        for row, record in zip(rows, inserted, strict=True):
            empty = [name for name in self._filled if row.values[name] is None]
            if any(record[name] is not None for name in empty):
                self._writes.put(scope, record[self._key], dict.fromkeys(empty), actor)
