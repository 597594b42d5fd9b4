"""What a write does inside its transaction: before-hooks, the write itself, the audit trail, after-hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Generic

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
        self._stamp(instances, self._insert(scope, values, actor))
        self._run(HookEvent.AFTER_INSERT, scope, instances)

    def creation(self, given: Values, actor: str) -> Callable[[Scope], ModelType]:
        """Prepare the insert of a record by its attributes, which is to be done in a scope; it returns the record.

        Where nobody could tell, no instance is made before the write: that is a third of its cost.

        Args:
            given: Values by attribute, the model's defaults for those that are missing.
            actor: Who does it.

        Raises:
            RecordInvalid: With every problem that was found.
        """
        if self._codec.constructs or self._hooks.any(HookEvent.BEFORE_INSERT, HookEvent.AFTER_INSERT):
            instance = self._codec.model(**given)
            values = [self._codec.validate(instance)]

            def insert(scope: Scope) -> ModelType:
                self.insert(scope, [instance], actor, values)
                return instance

            return insert
        validated = self._codec.validate_new(given)
        return lambda scope: self._codec.build(self._insert(scope, [validated], actor)[0])

    def save(self, scope: Scope, instance: ModelType, key: Any, actor: str) -> None:
        """Insert an instance whose key is new or None, else write what its holder changed.

        Raises:
            RecordDeleted: The record is soft-deleted.
        """
        row = None if key is None else self._table.find_to_write(scope, key)
        if row is None:
            self.insert(scope, [instance], actor)
            return
        if self._codec.is_deleted(row):
            raise RecordDeleted(f"{self._codec.model.__name__} {key} is deleted", hint="restore it first")
        self._change(scope, instance, row, actor, Operation.UPDATE)

    def update(self, scope: Scope, key: Any, changes: Mapping[str, Any], actor: str) -> ModelType | None:
        """Write some attributes of a record; returns it, None where there is no active one."""
        row = self._table.find_to_write(scope, key)
        if row is None or self._codec.is_deleted(row):
            return None
        instance = self._codec.build(self._codec.copy(row))
        for name, value in changes.items():
            setattr(instance, name, value)
        self._change(scope, instance, row, actor, Operation.UPDATE)
        return instance

    def restore(self, scope: Scope, key: Any, actor: str) -> ModelType | None:
        """Make a soft-deleted record active again; returns the active record, None where there is none."""
        row = self._table.find_to_write(scope, key)
        if row is None:
            return None
        instance = self._codec.build(self._codec.copy(row))
        if self._codec.is_deleted(row):
            setattr(instance, DELETED_AT, None)
            self._change(scope, instance, row, actor, Operation.RESTORE)
        return instance

    def put(self, scope: Scope, key: Any, changes: Mapping[str, Any], actor: str) -> bool:
        """Write attributes of a record that is there, deleted or not, `deleted_at` among them; whether any changed.

        The hooks are those of an update. The trail tells of a deletion or a restoration where `deleted_at` says so.
        """
        row = self._table.find_to_write(scope, key)
        if row is None:
            raise LookupError(key)
        instance = self._codec.build(self._codec.copy(row))
        for name, value in changes.items():
            setattr(instance, name, value)
        was_deleted, is_deleted = (self._codec.is_deleted(values) for values in (row, {**row, **changes}))
        operation = Operation.SOFT_DELETE if is_deleted else Operation.RESTORE
        return self._change(scope, instance, row, actor, operation if was_deleted != is_deleted else Operation.UPDATE)

    def delete(self, scope: Scope, keys: Iterable[Any], actor: str, *, for_good: bool = False) -> int:
        """Delete the active ones of some records, softly where the model has `deleted_at`; returns their number.

        Args:
            scope: Where to write.
            keys: The keys of the records.
            actor: Who does it.
            for_good: Whether they are removed, soft-deleted ones too, although the model has `deleted_at`.
        """
        found = [self._table.find_to_write(scope, key) for key in keys]
        rows = [row for row in found if row is not None and (for_good or not self._codec.is_deleted(row))]
        if not rows:
            return 0
        instances = [self._codec.build(self._codec.copy(row)) for row in rows]
        self._run(HookEvent.BEFORE_DELETE, scope, instances)
        if self._codec.soft_delete and not for_good:
            now = datetime.now(UTC)
            self._table.mark(scope, rows, {DELETED_AT: now})
            marked = [{**row, DELETED_AT: now} for row in rows]
            self._audit(scope, actor, Operation.SOFT_DELETE, list(zip(rows, marked, strict=True)))
            self._stamp(instances, marked)
        else:
            self._table.delete(scope, rows)
            self._audit(scope, actor, Operation.DELETE, [(row, None) for row in rows])
        self._run(HookEvent.AFTER_DELETE, scope, instances)
        return len(rows)

    @contextmanager
    def limited(self, scope: Scope, limit: int | None) -> Iterator[None]:
        """Bound the active records that the writes of a block may leave, None for any number.

        Raises:
            RecordLimitReached: There would be more.
        """
        if limit is None:
            yield
            return
        scope.dialect.lock_table(scope.connection, self._codec.table)
        written = len(scope.written)
        yield
        if len(scope.written) > written:
            self._table.check_limit(scope, limit)

    def _insert(self, scope: Scope, records: Sequence[Values], actor: str) -> Sequence[Values]:
        self._reserve_ids(scope)
        written = self._table.insert(scope, records)
        self._audit(scope, actor, Operation.CREATE, [(None, record) for record in written])
        return written

    def _change(self, scope: Scope, instance: ModelType, row: Values, actor: str, operation: Operation) -> bool:
        """Write what an instance changes in its row; whether there was anything."""
        changes = self._changes(instance, row)
        hooked = bool(changes) and self._run(HookEvent.BEFORE_UPDATE, scope, [instance])
        if hooked:
            changes = self._changes(instance, row)
        if not changes:
            self._stamp([instance], [row])
            return False
        written = self._table.update(scope, row, changes, reread=hooked)
        self._audit(scope, actor, operation, [(row, written)])
        self._stamp([instance], [written])
        self._run(HookEvent.AFTER_UPDATE, scope, [instance])
        return True

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
        scope.outcomes.add(committed=lambda: setattr(self, "_ids_reserved_in", engine))
