"""Import: the records of an archive, validated, hooked and audited like any other write, all of them or none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import sqlalchemy as sa

from storage.accessor import ModelAccessor
from storage.auditor import checked_actor
from storage.database import current_database
from storage.errors import ArchiveInvalid, ConfigurationError
from storage.scope import Scope, current_scope, translated
from storage.transfer.archive_loading import Loading, Put, Remove
from storage.transfer.archive_manifest import AUDIT_TABLE, ArchivedTable, Manifest
from storage.transfer.archive_order import parents_first
from storage.transfer.archive_reader import Archive, open_archive
from storage.transfer.archive_report import ImportReport, Problems, TooManyProblems
from storage.transfer.archive_staging import Staging
from storage.transfer.archive_table import ImportedTable
from storage.transfer.rehearsal import rehearsal
from storage.transfer.sqlite_file import database_file
from storage.transfer.workspace import need_space, workspace_beside
from storage.writer import joined

ImportMode = Literal["merge", "replace"]
"""What becomes of records that the archive does not have: they stay, or they are removed for good."""

_TOLD = 3
_STAGED = 2
"""How many times the size of its files what was read of them may need on the disk."""


def import_archive(
    source: str | os.PathLike[str] | BinaryIO,
    accessors: Iterable[ModelAccessor[Any]],
    *,
    mode: ImportMode = "merge",
    dry_run: bool = False,
    actor: str = "internal",
) -> ImportReport:
    """Import an archive that `export_archive` made: all of it or, where any row is bad, nothing.

    A record of the archive is inserted where there is none of its key, else what differs is written, `deleted_at`
    included: what was soft-deleted is so again. Each write is validated by the model, runs the hooks of the accessor
    and is told in the audit trail. Columns that the archive lacks keep what they have, or get the model's default;
    tables that it lacks stay as they are. The audit trail in the archive is not imported: only writes add to it.

    The archive is read and validated first, for which nobody waits; its rows go to a temporary file. Then it is one
    transaction, for whose length others cannot write to these tables, on SQLite to none: who waits in vain is told that
    an import is under way. Memory does not grow with the archive, but for records that stand before the ones they refer
    to, which wait there.

    Args:
        source: A path, or a file open for reading bytes that can be wound back.
        accessors: Where the tables go.
        mode: `merge` leaves records alone that the archive does not have; `replace` removes them for good, from the
            tables that it has.
        dry_run: Whether to change nothing and only report. Outside a transaction of the caller's, SQLite tries it on a
            copy of the database, so that nobody waits; on PostgreSQL others wait as they do for an import.
        actor: Who does it, for the audit trail.

    Returns:
        What was done, or would be.

    Raises:
        ArchiveInvalid: The archive is damaged, hostile, or has a table or column that the models do not have; or,
            unless it is a dry run, rows of it are bad.
        ConfigurationError: There is no such mode.
        DatabaseUnavailable: The database cannot be written now, or the disk has no room for the temporary file.

    Example:
        >>> import io
        >>> from sqlmodel import Field, SQLModel
        >>> from storage.bootstrap import bootstrap
        >>> from storage.transfer.archive_export import export_archive
        >>> class Saw(SQLModel, table=True):
        ...     id: int | None = Field(default=None, primary_key=True)
        ...     name: str
        >>> bootstrap(database_url="sqlite://")
        >>> saws, archive = ModelAccessor(Saw, "saws"), io.BytesIO()
        >>> saw = saws.insert(Saw(name="band saw"))
        >>> _ = export_archive(archive, [saws])
        >>> _ = saws.delete(saw.id)
        >>> [(table.table, table.inserted) for table in import_archive(archive, [saws]).tables]
        [('saw', 1)]
        >>> saws.get(saw.id).name
        'band saw'
    """
    checked_actor(actor)
    if mode not in {"merge", "replace"}:
        raise ConfigurationError(f"the mode of an import is {mode!r}", hint='use "merge" or "replace"')
    with open_archive(source) as archive, workspace_beside(database_file()) as room, ExitStack() as stack:
        tables = [
            ImportedTable(*pair, stack.enter_context(closing(Staging(room / f"{number}.sqlite"))))
            for number, pair in enumerate(_pairs(archive.manifest, accessors))
        ]
        archive.verify()
        need_space(room, _STAGED * sum(archive.size_of(table.archived) for table in tables))
        plan = _Import(tables=tables, replace=mode == "replace", dry_run=dry_run, actor=actor)
        complete = plan.run(archive, room)
    problems = plan.problems.sorted([table.archived.file for table in tables])
    if problems and not dry_run:
        raise _refused(problems, complete=complete)
    reports = tuple(table.report for table in tables)
    return ImportReport(dry_run=dry_run, tables=reports, problems=problems, complete=complete)


class _Undone(Exception):
    """Ends the transaction of an import that is to leave nothing behind."""


@dataclass(frozen=True, kw_only=True)
class _Import:
    """One import."""

    tables: Sequence[ImportedTable]
    replace: bool
    dry_run: bool
    actor: str
    problems: Problems = field(default_factory=Problems)

    def run(self, archive: Archive, room: Path) -> bool:
        """Read it all, then write it all or undo it; whether it was all looked at.

        What can be found out without the database is found out before anybody has to wait.

        Args:
            archive: The archive.
            room: A workspace.
        """
        alone = current_scope() is None
        try:
            for table in self.tables:
                table.read(archive, self.problems)
            if self.problems.found and not self.dry_run:
                return True
            with self._transaction(room, alone=alone) as scope, self._kept_or_undone():
                self._load(scope, alone=alone)
        except _Undone:
            pass
        except TooManyProblems:
            return False
        return True

    @contextmanager
    def _transaction(self, room: Path, *, alone: bool) -> Iterator[Scope]:
        """Where to write: in the database, whose other writers know what they wait for; in a dry run, on a copy."""
        database = current_database()
        gate = database.dialect.gate_of(database.engine)
        with ExitStack() as stack:
            if gate is not None and self.dry_run and alone:
                yield stack.enter_context(rehearsal(room))
                return
            if gate is not None:
                stack.enter_context(gate.announced("an import"))
            yield stack.enter_context(joined())

    @contextmanager
    def _kept_or_undone(self) -> Iterator[None]:
        yield
        if self.dry_run or self.problems.found:
            raise _Undone

    def _load(self, scope: Scope, *, alone: bool) -> None:
        def forget() -> None:
            # What was written matters to the session of a transaction around this one; there is none where it is alone.
            if alone:
                scope.written.clear()

        with translated(scope.dialect):
            for table in self.tables:
                scope.dialect.lock_table(scope.connection, table.table)
        loading = Loading(scope, self.actor, self.problems, forget)
        if self.replace:
            for table in reversed(self.tables):
                for keys in table.keys_beyond(scope):
                    loading.write([Remove(table=table, key=key) for key in keys])
        for table in self.tables:
            for rows in table.batches():
                loading.write([Put(table=table, row=row) for row in rows])
        loading.finish()


def _pairs(
    manifest: Manifest, accessors: Iterable[ModelAccessor[Any]]
) -> list[tuple[ArchivedTable, ModelAccessor[Any]]]:
    """The tables to import with their accessors, those first to which others refer."""
    known = {accessor.codec.table.fullname: accessor for accessor in accessors}
    found: dict[sa.Table, tuple[ArchivedTable, ModelAccessor[Any]]] = {}
    for archived in manifest.tables:
        if archived.table == AUDIT_TABLE:
            continue
        if archived.table not in known:
            message = f"the archive has the table {archived.table!r}, for which there is no accessor"
            raise ArchiveInvalid(message, hint="serve its model, or import into the app from which it comes")
        accessor = known[archived.table]
        found[accessor.codec.table] = archived, accessor
    return [found[table] for table in parents_first(found)]


def _refused(problems: tuple[Any, ...], *, complete: bool) -> ArchiveInvalid:
    shown = ", ".join(str(problem) for problem in problems[:_TOLD])
    more = f" and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
    count = f"{len(problems)}" if complete else f"more than {len(problems)}"
    message = f"nothing was imported, {count} of its values are bad: {shown}{more}"
    return ArchiveInvalid(message, problems=problems, hint="a dry run tells them all")
