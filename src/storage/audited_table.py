"""What a write does inside its transaction: before-hooks, the write itself, the audit trail, after-hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Generic
from weakref import ref

import sqlalchemy as sa

from storage.auditor import Change, Operation, highest_id, write_audit
from storage.errors import RecordDeleted
from storage.hooks import HookEvent, HookRegistry, ModelType
from storage.records import DELETED_AT, Values
from storage.schema.ids import reserve_ids
from storage.scope import Scope, translated
from storage.table import RecordTable

_View = tuple[Values | None, Values | None]


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
        self._ids_reserved_in: ref[sa.Engine] | None = None

    def insert(
        self, scope: Scope, instances: Sequence[ModelType], actor: str, values: Sequence[Values] | None = None
    ) -> Sequence[Values]:
        """Insert instances and make them count as stored.

        Args:
            scope: Where to write.
            instances: The records.
            actor: Who does it.
            values: Their validated values, None to validate them here; a before-hook may still change them.

        Returns:
            Their values with the keys and whatever else the database filled in.
        """
        if self._run(HookEvent.BEFORE_INSERT, scope, instances) or values is None:
            values = [self._codec.validate(instance) for instance in instances]
        written = self._insert(scope, values, actor)
        self._stamp(instances, written)
        self._run(HookEvent.AFTER_INSERT, scope, instances)
        return written

    def insert_values(self, scope: Scope, records: Sequence[Values], actor: str) -> Sequence[Values]:
        """Insert validated records of which nobody has instances; those are made for the hooks only.

        Args:
            scope: Where to write.
            records: Every attribute of each.
            actor: Who does it.

        Returns:
            Their values with the keys and whatever else the database filled in.
        """
        if self._hooks.any(HookEvent.BEFORE_INSERT, HookEvent.AFTER_INSERT):
            return self.insert(scope, [self._codec.model(**values) for values in records], actor, records)
        return self._insert(scope, records, actor)

    def creation(self, given: Values, actor: str) -> Callable[[Scope], ModelType]:
        """Prepare the insert of a record by its attributes, which is to be done in a scope; it returns the record.

        Where nobody could tell, no instance is made before the write: that costs nearly as much as its statements.

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
        self._change(scope, instance, row, actor)

    def update(self, scope: Scope, key: Any, changes: Mapping[str, Any], actor: str) -> ModelType | None:
        """Write some attributes of a record; returns it, None where there is no active one."""
        row = self._table.find_to_write(scope, key)
        if row is None or self._codec.is_deleted(row):
            return None
        instance = self._codec.build(self._codec.copy(row))
        for name, value in changes.items():
            setattr(instance, name, value)
        self._change(scope, instance, row, actor)
        return instance

    def restore(self, scope: Scope, key: Any, actor: str) -> ModelType | None:
        """Make a soft-deleted record active again; returns the active record, None where there is none."""
        row = self._table.find_to_write(scope, key)
        if row is None:
            return None
        instance = self._codec.build(self._codec.copy(row))
        if self._codec.is_deleted(row):
            setattr(instance, DELETED_AT, None)
            self._change(scope, instance, row, actor)
        return None if self._codec.is_deleted(instance.__dict__) else instance  # by a hook, say

    @property
    def hooks_changes(self) -> bool:
        """Whether a hook runs around a change of a record, one that deletes it among them; it may write any record."""
        return self._hooks.any(
            HookEvent.BEFORE_UPDATE, HookEvent.AFTER_UPDATE, HookEvent.BEFORE_DELETE, HookEvent.AFTER_DELETE
        )

    def put_values(self, scope: Scope, pairs: Sequence[tuple[Values, Values]], actor: str) -> None:
        """Do what `put` does to several records, of a model without hooks for it.

        Args:
            scope: Where to write.
            pairs: The values of each as they are stored, and those that differ, validated.
            actor: Who does it.
        """
        self._audit(scope, actor, [(row, self._table.update(scope, row, changes)) for row, changes in pairs])

    def put(self, scope: Scope, key: Any, changes: Mapping[str, Any], actor: str) -> bool:
        """Write attributes of a record that is there, deleted or not, `deleted_at` among them; whether any changed."""
        row = self._table.find_to_write(scope, key)
        if row is None:
            raise LookupError(key)
        instance = self._codec.build(self._codec.copy(row))
        for name, value in changes.items():
            setattr(instance, name, value)
        return self._change(scope, instance, row, actor)

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
        views = self._run_before(HookEvent.BEFORE_DELETE, scope, instances, [(row, row) for row in rows])
        left = [
            (instance, told, stored)
            for instance, (told, stored) in zip(instances, views, strict=True)
            if told is not None and (for_good or not self._codec.is_deleted(told))  # not by an accessor of a hook's
        ]
        instances = [instance for instance, _, _ in left]
        written = self._remove(scope, [stored for _, _, stored in left], for_good=for_good)
        self._audit(scope, actor, list(zip([told for _, told, _ in left], written, strict=True)))
        self._stamp(instances, written)
        self._run(HookEvent.AFTER_DELETE, scope, instances)
        return len(rows)

    def _remove(self, scope: Scope, rows: Sequence[Values | None], *, for_good: bool) -> list[Values | None]:
        """Remove rows, or mark them as deleted; returns what is left of each. None is one that a hook has removed."""
        there = [row for row in rows if row is not None]
        if for_good or not self._codec.soft_delete:
            self._table.delete(scope, there)
            return [None] * len(rows)
        marked = iter(self._table.mark(scope, there, {DELETED_AT: datetime.now(UTC)}))
        return [None if row is None else next(marked) for row in rows]

    @contextmanager
    def limited(self, scope: Scope, limit: int | None) -> Iterator[None]:
        """Bound the active records that the writes of a block may leave, None for any number.

        Raises:
            RecordLimitReached: There would be more.
        """
        if limit is None:
            yield
            return
        with translated(scope.dialect):
            scope.dialect.lock_table(scope.connection, self._codec.table)
        written = len(scope.written)
        yield
        if len(scope.written) > written:
            self._table.check_limit(scope, limit)

    def _insert(self, scope: Scope, records: Sequence[Values], actor: str) -> Sequence[Values]:
        self._reserve_ids(scope)
        written = self._table.insert(scope, records)
        self._audit(scope, actor, [(None, record) for record in written])
        return written

    def _change(self, scope: Scope, instance: ModelType, row: Values, actor: str) -> bool:
        """Write what an instance changes in its row; whether there was anything.

        What is done follows from `deleted_at`, whoever sets it: who deletes by it runs the delete hooks.
        """
        changes = self._changes(instance, row)
        if not changes:
            self._stamp([instance], [row])
            return False
        told, stored = row, row
        if self._hooks.any(HookEvent.BEFORE_UPDATE) and not self._deletes(told, stored, changes):
            told, stored = self._prepare(HookEvent.BEFORE_UPDATE, scope, instance, (told, stored))
            changes = self._changes(instance, stored)
        if self._hooks.any(HookEvent.BEFORE_DELETE) and self._deletes(told, stored, changes):
            told, stored = self._prepare(HookEvent.BEFORE_DELETE, scope, instance, (told, stored))
        written = self._table.update(scope, stored, changes) if changes else stored
        self._stamp([instance], [written])
        if not changes and self._codec.same(told, written):
            return False
        self._audit(scope, actor, [(told, written)])
        after = HookEvent.AFTER_DELETE if self._deletes(told, written, {}) else HookEvent.AFTER_UPDATE
        self._run(after, scope, [instance])
        return True

    def _prepare(
        self, event: HookEvent, scope: Scope, instance: ModelType, view: tuple[Values, Values]
    ) -> tuple[Values, Values]:
        """Run the hooks of an event before a change, of which nothing is left to do when one of them deletes."""
        [(told, stored)] = self._run_before(event, scope, [instance], [view])
        was_deleted = self._codec.is_deleted(view[0])
        if told is None or stored is None or (self._codec.is_deleted(told) and not was_deleted):
            message = f"a {event.value} hook has deleted {self._codec.model.__name__} {view[0][self._key]}"
            raise RecordDeleted(message, hint="let the hook raise to stop the write, or delete in an after hook")
        return told, stored

    def _deletes(self, told: Values, stored: Values, changes: Values) -> bool:
        """Whether these changes, or those of a hook, make an active record a deleted one."""
        if not self._codec.soft_delete or told[DELETED_AT] is not None:
            return False
        return changes.get(DELETED_AT, stored[DELETED_AT]) is not None

    def _changes(self, instance: ModelType, row: Values) -> Values:
        return self._codec.changes(instance, self._codec.validate(instance, defaults=row), row)

    def _stamp(self, instances: Sequence[ModelType], records: Sequence[Values | None]) -> None:
        for instance, values in zip(instances, records, strict=True):
            if values is not None:
                self._codec.stamp(instance, values)

    def _run(self, event: HookEvent, scope: Scope, instances: Sequence[ModelType]) -> bool:
        """Run the hooks of an event for each instance; whether there are any."""
        if not self._hooks.any(event):
            return False
        for instance in instances:
            self._hooks.run(event, scope.session, instance)
        scope.flush()
        return True

    def _run_before(
        self, event: HookEvent, scope: Scope, instances: Sequence[ModelType], views: Sequence[_View]
    ) -> Sequence[_View]:
        """Run the hooks of an event, which may write the rows too, before these are written.

        Args:
            event: The event.
            scope: Where to write.
            instances: The records.
            views: For each what the audit trail tells of it, and what its row is.

        Returns:
            The same, as it is now. What a hook writes by an accessor, the trail has told; what it writes by its
            session, the entry that follows tells.
        """
        if not self._hooks.any(event):
            return views
        earlier, scope.written = scope.written, set()
        try:
            self._run(event, scope, instances)
        finally:
            by_accessors, scope.written = scope.written, earlier | scope.written
        now = []
        for told, stored in views:
            key = (stored or told or {})[self._key]
            found = self._table.find_to_write(scope, key)
            now.append((found if self._codec.identity(key) in by_accessors else told, found))
        return now

    def _audit(self, scope: Scope, actor: str, views: Sequence[_View]) -> None:
        if self._component is None:
            return
        snapshot = self._codec.snapshot
        changes = [
            Change(
                key=(before or after or {})[self._key],
                operation=self._operation(before, after),
                before=before and snapshot(before),
                after=after and snapshot(after),
            )
            for before, after in views
        ]
        write_audit(scope, self._component, actor, changes)

    def _operation(self, before: Values | None, after: Values | None) -> Operation:
        """What was done to a record that was one thing before and is another after."""
        if before is None:
            return Operation.CREATE
        if after is None:
            return Operation.DELETE
        if self._codec.is_deleted(before) == self._codec.is_deleted(after):
            return Operation.UPDATE
        return Operation.RESTORE if self._codec.is_deleted(before) else Operation.SOFT_DELETE

    def _reserve_ids(self, scope: Scope) -> None:
        """Keep the database from giving out an id again that the audit trail knows, once for each database."""
        engine = scope.connection.engine
        if self._component is None or not self._codec.numbers_keys:
            return
        if self._ids_reserved_in is not None and self._ids_reserved_in() is engine:
            return
        if (highest := highest_id(scope, self._component)) is not None:
            with translated(scope.dialect):
                reserve_ids(scope.connection, self._codec.table, highest)
        scope.outcomes.add(committed=lambda: setattr(self, "_ids_reserved_in", ref(engine)))
