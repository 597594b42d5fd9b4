"""What a write does inside its transaction: before-hooks, the write itself, the audit trail, after-hooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Generic

import sqlalchemy as sa

from storage.auditor import Change, Operation, highest_id, write_audit
from storage.errors import RecordDeleted
from storage.hooks import HookEvent, HookRegistry, ModelType
from storage.records import DELETED_AT, Values
from storage.schema.ids import reserve_ids
from storage.scope import Scope
from storage.table import RecordTable

Pairs = Sequence[tuple[Values | None, Values | None]]


class AuditedTable(Generic[ModelType]):
    """The table of one model with its hooks and its part of the audit trail.

    Args:
        table: The table.
        hooks: What runs around each write.
        component: The name in the audit trail, None to write none.
    """

    def __init__(self, table: RecordTable[ModelType], hooks: HookRegistry[ModelType], component: str | None) -> None:
        self._table = table
        self._codec = table.codec
        self._key = table.codec.key.name
        self._hooks = hooks
        self._component = component
        self._ids_reserved_in: sa.Engine | None = None

    def insert(
        self, scope: Scope, instances: Sequence[ModelType], actor: str, values: Sequence[Values] | None = None
    ) -> None:
        """Insert instances and make them count as stored.

        Args:
            scope: Where to write.
            instances: The records.
            actor: Who does it.
            values: Their validated values, None to validate them here; a before-hook may still change them.
        """
        if self._run(HookEvent.BEFORE_INSERT, scope, instances) or values is None:
            values = [self._codec.validate(instance) for instance in instances]
        self._reserve_ids(scope)
        written = self._table.insert(scope, values)
        self._audit(scope, actor, Operation.CREATE, [(None, record) for record in written])
        self._stamp(instances, written)
        self._run(HookEvent.AFTER_INSERT, scope, instances)

    def update(self, scope: Scope, instance: ModelType, row: Values, actor: str) -> None:
        """Write what an instance changes in its row; nothing, and without hooks, where it changes nothing.

        Raises:
            RecordDeleted: The row is soft-deleted.
        """
        if self._codec.is_deleted(row):
            message = f"{self._codec.model.__name__} {row[self._key]} is deleted"
            raise RecordDeleted(message, hint="restore it first")
        self._change(scope, instance, row, actor, Operation.UPDATE)

    def restore(self, scope: Scope, row: Values, actor: str) -> None:
        """Make the record of a soft-deleted row active again."""
        instance = self._codec.build(dict(row))
        setattr(instance, DELETED_AT, None)
        self._change(scope, instance, row, actor, Operation.RESTORE)

    def delete(self, scope: Scope, rows: Sequence[Values], actor: str) -> None:
        """Delete the records of some rows, softly where the model has `deleted_at`."""
        instances = [self._codec.build(dict(row)) for row in rows]
        self._run(HookEvent.BEFORE_DELETE, scope, instances)
        if self._codec.soft_delete:
            now = datetime.now(UTC)
            self._table.mark(scope, rows, {DELETED_AT: now})
            marked = [{**row, DELETED_AT: now} for row in rows]
            self._audit(scope, actor, Operation.SOFT_DELETE, list(zip(rows, marked, strict=True)))
            self._stamp(instances, marked)
        else:
            self._table.delete(scope, rows)
            self._audit(scope, actor, Operation.DELETE, [(row, None) for row in rows])
        self._run(HookEvent.AFTER_DELETE, scope, instances)

    def _change(self, scope: Scope, instance: ModelType, row: Values, actor: str, operation: Operation) -> None:
        changes = self._changes(instance, row)
        if changes and self._run(HookEvent.BEFORE_UPDATE, scope, [instance]):
            changes = self._changes(instance, row)
        if not changes:
            self._stamp([instance], [row])
            return
        written = self._table.update(scope, row, changes)
        self._audit(scope, actor, operation, [(row, written)])
        self._stamp([instance], [written])
        self._run(HookEvent.AFTER_UPDATE, scope, [instance])

    def _changes(self, instance: ModelType, row: Values) -> Values:
        return self._codec.changes(instance, self._codec.validate(instance, defaults=row), row)

    def _stamp(self, instances: Sequence[ModelType], records: Sequence[Values]) -> None:
        for instance, values in zip(instances, records, strict=True):
            self._codec.stamp(instance, values)

    def _run(self, event: HookEvent, scope: Scope, instances: Sequence[ModelType]) -> bool:
        """Run the hooks of an event for each instance; whether there are any."""
        if not self._hooks.any(event):
            return False
        for instance in instances:
            self._hooks.run(event, scope.session, instance)
        scope.flush()
        return True

    def _audit(self, scope: Scope, actor: str, operation: Operation, pairs: Pairs) -> None:
        if self._component is None:
            return
        snapshot = self._codec.snapshot
        changes = [
            Change(
                key=(before or after or {})[self._key],
                operation=operation,
                before=before and snapshot(before),
                after=after and snapshot(after),
            )
            for before, after in pairs
        ]
        write_audit(scope, self._component, actor, changes)

    def _reserve_ids(self, scope: Scope) -> None:
        """Keep the database from giving out an id again that the audit trail knows, once for each database."""
        engine = scope.connection.engine
        if self._component is None or not self._codec.numbers_keys or self._ids_reserved_in is engine:
            return
        if (highest := highest_id(scope, self._component)) is not None:
            reserve_ids(scope.connection, self._codec.table, highest)
        scope.callbacks.append(lambda: setattr(self, "_ids_reserved_in", engine))
