"""From the rows of an archive to values that a model accepts, without the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from storage.accessor import ModelAccessor
from storage.columns import INTEGERS
from storage.errors import ArchiveInvalid, Problem, RecordInvalid
from storage.records import Values
from storage.transfer.archive_manifest import ArchivedTable
from storage.transfer.archive_reader import ArchivedRow
from storage.transfer.cells import cell_reader
from storage.values import Refused


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row as values."""

    line: int
    """The line on which it starts."""
    values: Values
    """Its values by attribute, validated where the archive has every column of the model."""


class RowReader:
    """Reads the rows of one file for one model.

    Args:
        archived: The table in the archive.
        accessor: The accessor of its model.

    Raises:
        ArchiveInvalid: The archive has other columns than the model.
    """

    def __init__(self, archived: ArchivedTable, accessor: ModelAccessor[Any]) -> None:
        self._file = archived.file
        self._model = accessor.model
        self._codec = accessor.codec
        self._key = accessor.codec.key.name
        self._check_columns(archived)
        columns = {column.name: column for column in self._codec.columns}
        self._readers = [(item.name, cell_reader(columns[item.name])) for item in archived.columns]
        self._key_place = [item.name for item in archived.columns].index(self._key)
        writable = {name for name, column in columns.items() if column.column.computed is None}
        self.written = [item.name for item in archived.columns if item.name in writable - {self._key}]
        """The attributes that the archive has, but for the key and what the database computes."""
        self.is_partial = len(self.written) + 1 < len(writable)
        """Whether the archive lacks columns, so that a row can only be validated together with what is stored."""
        self._constructs = self._codec.constructs

    def _check_columns(self, archived: ArchivedTable) -> None:
        known = {column.name: column.kind for column in self._codec.columns}
        file, model = self._file, self._model.__name__
        for column in archived.columns:
            if column.name not in known:
                raise ArchiveInvalid(f"{file} has the column {column.name!r}, which {model} does not have")
            kind = known[column.name]
            if kind is not column.kind and not {kind, column.kind} <= INTEGERS:
                message = f"{file} has {column.kind.value} in the column {column.name!r}, and {model} has {kind.value}"
                raise ArchiveInvalid(message)
        if self._key not in {column.name for column in archived.columns}:
            raise ArchiveInvalid(f"{file} lacks the column {self._key!r}, which is the key of {model}")

    def row_of(self, row: ArchivedRow) -> Row:
        """Read the cells of a row, and validate them if that can be done now.

        Raises:
            RecordInvalid: With every cell that cannot be read, or every value that the model refuses.
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
        given = {name: values[name] for name in (self._key, *self.written)}
        if not self.is_partial:
            given = self.validated(given)
        elif given[self._key] is not None:
            given[self._key] = self._key_made_of(given)
        return Row(line=row.line, values=given)

    def _key_made_of(self, given: Values) -> Any:
        """The key that the model makes of a row that lacks columns, with defaults in their place if there are."""
        try:
            return self.validated(given)[self._key]
        except RecordInvalid:  # which may still be good together with what is stored
            return self._codec.validate_key(given[self._key])

    def key_of(self, row: ArchivedRow) -> Any:
        """The key of a row; None where it has none, or none that can be read, of which `row_of` tells."""
        if len(row.cells) != len(self._readers):
            return None
        try:
            return self._readers[self._key_place][1](row.cells[self._key_place])
        except Refused:
            return None

    def validated(self, values: Values) -> Values:
        """Validate values; those that are missing get the model's defaults.

        Raises:
            RecordInvalid: With every value that the model refuses.
        """
        if not self._constructs:
            return self._codec.validate_new(values)
        try:
            instance = self._model(**values)
        except ValueError as error:
            raise RecordInvalid(self._model.__name__, [Problem(field="", message=str(error))]) from error
        return self._codec.validate(instance)
