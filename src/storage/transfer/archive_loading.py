"""Writing the records of an archive: many at a time, and one at a time where one of them is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from storage.collector import collector_at_rest
from storage.errors import (
    ConstraintViolation,
    DuplicateRecord,
    ForeignKeyViolation,
    RecordInvalid,
    RecordLimitReached,
)
from storage.scope import Scope
from storage.transfer.archive_report import Problems, TableReport
from storage.transfer.archive_rows import Row
from storage.transfer.archive_table import ImportedTable

_MANY = 100  # records from which on a collector at rest pays
_REFUSALS = (ConstraintViolation, DuplicateRecord, ForeignKeyViolation, RecordInvalid, RecordLimitReached, ValueError)
"""What one record can be refused for; the last is what a hook raises. Anything else ends the import."""
_MAY_PASS_LATER = (DuplicateRecord, ForeignKeyViolation)


@dataclass(frozen=True, kw_only=True)
class Put:
    """Insert or update a record."""

    table: ImportedTable
    """Where."""
    row: Row
    """The record."""


@dataclass(frozen=True, kw_only=True)
class Remove:
    """Remove a record that the archive does not have."""

    table: ImportedTable
    """Where."""
    key: Any
    """Its key."""


class Loading:
    """The writes of one import, in one transaction.

    A record that refers to another one, or has a unique value of another one, may be refused now and pass once that one
    is written. Such records wait in memory. Those that refer to each other in a circle are written without their
    references first, where these may be missing.

    Args:
        scope: Where to write.
        actor: Who does it.
        problems: Where to note what is refused.
        forget: Called after each batch, so that what the scope notes of it does not grow with the archive.
    """

    def __init__(self, scope: Scope, actor: str, problems: Problems, forget: Callable[[], None]) -> None:
        self._scope = scope
        self._actor = actor
        self._problems = problems
        self._forget = forget
        self._waiting: list[tuple[Put | Remove, Exception]] = []

    def write(self, batch: Sequence[Put | Remove]) -> None:
        """Write some steps of one table and kind."""
        error = self._try(batch)
        if error is None:
            return
        if len(batch) > 1:
            for step in batch:
                self.write([step])
        elif isinstance(error, _MAY_PASS_LATER):
            self._waiting.append((batch[0], error))
        else:
            self._note(batch[0], error)

    def finish(self) -> None:
        """Write what waited, and note what cannot be written at all."""
        self._retry()
        self._break_circles()
        self._retry()
        waiting, self._waiting = self._waiting, []
        for step, error in waiting:
            self._note(step, error)

    def _try(self, batch: Sequence[Put | Remove]) -> Exception | None:
        """Write a batch, all or nothing; returns why it was refused."""
        report = batch[0].table.report
        resting = collector_at_rest() if len(batch) >= _MANY else nullcontext()
        try:
            with resting, self._scope.child() as inner:
                done = self._do(inner, batch)
        except _REFUSALS as error:
            return error
        finally:
            self._forget()
        inner.written.clear()
        report.inserted += done.inserted
        report.updated += done.updated
        report.unchanged += done.unchanged
        report.removed += done.removed
        return None

    def _do(self, scope: Scope, batch: Sequence[Put | Remove]) -> TableReport:
        table = batch[0].table
        if rows := [step.row for step in batch if isinstance(step, Put)]:
            return table.put(scope, rows, self._actor)
        return table.remove(scope, [step.key for step in batch if isinstance(step, Remove)], self._actor)

    def _retry(self) -> None:
        """Try again what waits, while that helps; the last first, since parents may stand behind their children."""
        before = None
        while self._waiting and len(self._waiting) != before:
            before = len(self._waiting)
            waiting, self._waiting = self._waiting, []
            for step, _ in reversed(waiting):
                self.write([step])

    def _break_circles(self) -> None:
        """Write what refers to each other without its references, then with them."""
        waiting, self._waiting = self._waiting, []
        bare: list[Put] = []
        for step, error in waiting:
            if isinstance(step, Put) and self._put_bare(step):
                bare.append(step)
            else:
                self._waiting.append((step, error))
        self._retry()
        for step in bare:
            report = step.table.report
            counted = report.updated
            self.write([step])
            report.updated = counted  # it was counted already

    def _put_bare(self, step: Put) -> bool:
        row = step.table.without_references(step.row)
        return row is not None and self._try([Put(table=step.table, row=row)]) is None

    def _note(self, step: Put | Remove, error: Exception) -> None:
        if isinstance(step, Put):
            step.table.refuse(self._problems, step.row.line, error)
        else:
            message = f"the record {step.key} is not in the archive and cannot be removed, as others refer to it"
            self._problems.add(file=step.table.archived.file, line=None, column=None, message=message)
