"""The accessor: the one audited way to write the records of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Generic, TypeVar

from sqlalchemy.orm import Session, object_session
from sqlalchemy.orm.attributes import instance_state

from storage.audited_table import AuditedTable
from storage.auditor import checked_actor
from storage.collector import collector_at_rest
from storage.errors import ConfigurationError, Problem, RecordInvalid
from storage.hooks import HookEvent, HookRegistry, ModelType
from storage.records import RecordCodec, codec_of
from storage.scope import Scope
from storage.table import RecordTable
from storage.writer import write

_MANY = 100  # records from which on a collector at rest pays
_LONGEST_COMPONENT = 100  # in an index of the trail it stands next to a key
HookFunction = TypeVar("HookFunction", bound=Callable[..., Any])


class ModelAccessor(Generic[ModelType]):
    """Create, read, update and delete the records of one model, validated, hooked and audited.

    The accessor is synchronous; async code calls it by `await in_thread(accessor.insert, …)`. What it returns is safe
    to keep and use outside any session.

    Args:
        model: A class declared with `table=True`.
        component_name: The name under which the audit trail and the RPCs know the records, such as `"recipes"`.
        enable_auditing: Whether writes are told in the audit trail.

    Raises:
        UnsupportedModel: The model has a composite key, or a column that cannot be kept.
        ConfigurationError: The component name is empty, or longer than 100 characters.

    Example:
        >>> from sqlmodel import Field, SQLModel
        >>> from storage.bootstrap import bootstrap
        >>> class Tool(SQLModel, table=True):
        ...     id: int | None = Field(default=None, primary_key=True)
        ...     name: str
        >>> bootstrap(database_url="sqlite://")
        >>> tools = ModelAccessor(Tool, "tools")
        >>> tool = tools.insert(Tool(name="gripper"), actor="maria")
        >>> tool.name = "vacuum gripper"
        >>> _ = tools.save(tool, actor="maria")
        >>> tools.get(tool.id).name
        'vacuum gripper'
    """

    def __init__(self, model: type[ModelType], component_name: str, *, enable_auditing: bool = True) -> None:
        if not isinstance(component_name, str):
            raise ConfigurationError("the component name is no text", hint="give the model first, then the name")
        if not component_name.strip():
            message = f"the accessor of {getattr(model, '__name__', model)} has no component name"
            raise ConfigurationError(message, hint='give it one, such as "recipes"')
        if len(component_name) > _LONGEST_COMPONENT:
            message = f"the component name of {getattr(model, '__name__', model)} has {len(component_name)} characters"
            raise ConfigurationError(message, hint=f"give it one of at most {_LONGEST_COMPONENT}")
        self.model = model
        self.component = component_name
        self.enable_auditing = enable_auditing
        self.codec: RecordCodec[ModelType] = codec_of(model)
        self.hooks: HookRegistry[ModelType] = HookRegistry()
        self._table = RecordTable(self.codec)
        self.writes = AuditedTable(self._table, self.hooks, component_name if enable_auditing else None)

    def __repr__(self) -> str:
        return f"ModelAccessor({self.model.__name__}, {self.component!r})"

    # hooks

    def before_insert(self) -> Callable[[HookFunction], HookFunction]:
        """Decorate a function `(session, instance)` to run before a record is inserted; raising stops the insert."""
        return self._hook(HookEvent.BEFORE_INSERT)

    def after_insert(self) -> Callable[[HookFunction], HookFunction]:
        """Decorate a function `(session, instance)` to run after a record was inserted, in the same transaction."""
        return self._hook(HookEvent.AFTER_INSERT)

    def before_update(self) -> Callable[[HookFunction], HookFunction]:
        """Decorate a function `(session, instance)` to run before a record is updated; raising stops the update."""
        return self._hook(HookEvent.BEFORE_UPDATE)

    def after_update(self) -> Callable[[HookFunction], HookFunction]:
        """Decorate a function `(session, instance)` to run after a record was updated, in the same transaction."""
        return self._hook(HookEvent.AFTER_UPDATE)

    def before_delete(self) -> Callable[[HookFunction], HookFunction]:
        """Decorate a function `(session, instance)` to run before a record is deleted; raising stops the deletion."""
        return self._hook(HookEvent.BEFORE_DELETE)

    def after_delete(self) -> Callable[[HookFunction], HookFunction]:
        """Decorate a function `(session, instance)` to run after a record was deleted, in the same transaction."""
        return self._hook(HookEvent.AFTER_DELETE)

    def _hook(self, event: HookEvent) -> Callable[[HookFunction], HookFunction]:
        def register(function: HookFunction) -> HookFunction:
            return self.hooks.add(event, function)

        return register

    # read

    def get(self, id: Any, include_deleted: bool = False) -> ModelType | None:  # noqa: A002 - the page's signature
        """Read one record.

        Args:
            id: Its key.
            include_deleted: Whether a soft-deleted record counts.

        Returns:
            The record, None where there is none.

        Raises:
            RecordInvalid: The key is not of the key's type.
            DatabaseUnavailable: The database cannot be read now.
        """
        key = self.codec.validate_key(id)
        values = self._table.find(key)
        if values is None or (self.codec.is_deleted(values) and not include_deleted):
            return None
        return self.codec.build(values)

    def all(self, include_deleted: bool = False) -> list[ModelType]:
        """Read every record, in the order of the keys.

        Args:
            include_deleted: Whether soft-deleted records are among them.

        Raises:
            DatabaseUnavailable: The database cannot be read now.
        """
        records = self._table.find_all(include_deleted=include_deleted)
        return self.codec.build_all(records)

    def page(self, *, size: int | None, after: Any = None, include_deleted: bool = False) -> list[ModelType]:
        """Read some records, in the order of the keys, so that no write moves a record from one page to another.

        Args:
            size: How many at most, None for all that follow.
            after: The key of the last record of the page before, None for the first page.
            include_deleted: Whether soft-deleted records are among them.

        Raises:
            RecordInvalid: The key is not of the key's type.
            DatabaseUnavailable: The database cannot be read now.
        """
        start = None if after is None else self.codec.validate_key(after)
        records = self._table.find_all(include_deleted=include_deleted, after=start, size=size)
        return self.codec.build_all(records)

    # write

    def insert(self, obj: ModelType, actor: str = "internal") -> ModelType:
        """Insert a record.

        Args:
            obj: The record; without a key where the database numbers them.
            actor: Who does it, for the audit trail.

        Returns:
            The same object, with its key, usable anywhere.

        Raises:
            RecordInvalid: Its values are refused; nothing was written.
            DuplicateRecord: Another record has its key or a unique value of it.
            ForeignKeyViolation: It refers to a record that does not exist.
            DatabaseUnavailable: The database cannot be written now.
        """
        return self.insert_many([obj], actor)[0]

    def save(self, obj: ModelType, actor: str = "internal") -> ModelType:
        """Insert a record whose key is new or None, else write what its holder changed since reading it.

        Args:
            obj: The record.
            actor: Who does it, for the audit trail.

        Returns:
            The same object with the values that are stored now, usable anywhere.

        Raises:
            RecordInvalid: Its values are refused; nothing was written.
            RecordDeleted: The record is soft-deleted.
            DuplicateRecord: Another record has a unique value of it.
            ForeignKeyViolation: It refers to a record that does not exist.
            DatabaseUnavailable: The database cannot be written now.
        """
        checked_actor(actor)
        with self._taking([obj]):
            key = self.codec.validate_loaded(obj)[self.codec.key.name]
            self._change([obj], lambda scope: self.writes.save(scope, obj, key, actor))
        return obj

    def update(self, id: Any, changes: Mapping[str, Any], actor: str = "internal") -> ModelType | None:  # noqa: A002 - as in get()
        """Write some attributes of a record.

        Args:
            id: Its key.
            changes: The new values by attribute.
            actor: Who does it, for the audit trail.

        Returns:
            The record as it is stored now, None where there is no active one.

        Raises:
            RecordInvalid: A value is refused, or the model has no such attribute; nothing was written.
            DuplicateRecord: Another record has a unique value of it.
            ForeignKeyViolation: It refers to a record that does not exist.
            DatabaseUnavailable: The database cannot be written now.
        """
        checked_actor(actor)
        key = self.codec.validate_key(id)
        unknown = [name for name in changes if name not in self.codec.names or name == self.codec.key.name]
        if unknown:
            problems = [Problem(field=name, message="is not an attribute that can change") for name in unknown]
            raise RecordInvalid(self.model.__name__, problems)
        return write(lambda scope: self.writes.update(scope, key, changes, actor))

    def delete(self, id: Any, actor: str = "internal") -> bool:  # noqa: A002 - the page's signature
        """Delete a record: softly where the model has `deleted_at`, else for good.

        Args:
            id: Its key.
            actor: Who does it, for the audit trail.

        Returns:
            Whether there was an active record.

        Raises:
            ForeignKeyViolation: Other records refer to it.
            DatabaseUnavailable: The database cannot be written now.
        """
        return self.delete_many([id], actor) == 1

    def restore(self, id: Any, actor: str = "internal") -> bool:  # noqa: A002 - the page's signature
        """Bring a soft-deleted record back; runs the update hooks.

        Args:
            id: Its key.
            actor: Who does it, for the audit trail.

        Returns:
            Whether the record is active now; False where there is none, and for models without `deleted_at`.

        Raises:
            DuplicateRecord: Another record has a unique value of it by now.
            DatabaseUnavailable: The database cannot be written now.
        """
        checked_actor(actor)
        key = self.codec.validate_key(id)
        if not self.codec.soft_delete:
            return False
        return write(lambda scope: self.writes.restore(scope, key, actor)) is not None

    # batch

    def insert_many(self, objs: Iterable[ModelType], actor: str = "internal") -> list[ModelType]:
        """Insert records, all or none: before-hooks for each, then the writes, then after-hooks for each.

        Args:
            objs: The records.
            actor: Who does it, for the audit trail.

        Returns:
            The same objects, with their keys.

        Raises:
            RecordInvalid: The values of one are refused, or it is there twice; nothing was written.
            DuplicateRecord: Another record has the key or a unique value of one.
            ForeignKeyViolation: One refers to a record that does not exist.
            DatabaseUnavailable: The database cannot be written now.
        """
        checked_actor(actor)
        records = list(objs)
        if len({id(instance) for instance in records}) < len(records):
            problem = Problem(field=self.codec.key.name, message="must be new, and one object is in the list twice")
            raise RecordInvalid(self.model.__name__, [problem])
        resting = collector_at_rest() if len(records) >= _MANY else nullcontext()
        with resting, self._taking(records):
            values = [self.codec.validate(instance) for instance in records]
            if records:
                self._change(records, lambda scope: self.writes.insert(scope, records, actor, values))
        return records

    def delete_many(self, ids: Iterable[Any], actor: str = "internal") -> int:
        """Delete records, all or none, softly where the model has `deleted_at`.

        Args:
            ids: Their keys; what is missing or deleted already is passed over.
            actor: Who does it, for the audit trail.

        Returns:
            How many were deleted.

        Raises:
            ForeignKeyViolation: Other records refer to one of them.
            DatabaseUnavailable: The database cannot be written now.
        """
        checked_actor(actor)
        keys = list(dict.fromkeys(self.codec.validate_key(key) for key in ids))
        return write(lambda scope: self.writes.delete(scope, keys, actor)) if keys else 0

    # between

    @contextmanager
    def _taking(self, instances: Sequence[ModelType]) -> Iterator[None]:
        """Take instances out of the sessions they are in, which would write them unaudited, and bring them back.

        What could not be written must not be written by the session either: it reads the record again, and a new one
        stays outside. So does an instance of a record that the session has another instance of.
        """
        found = [(instance, object_session(instance)) for instance in instances if isinstance(instance, self.model)]
        taken = [(instance, session) for instance, session in found if session is not None]
        for instance, session in taken:
            session.expunge(instance)
        try:
            yield
        except BaseException:
            for instance, session in taken:
                if instance_state(instance).key is not None and _bring_back(instance, session):
                    session.expire(instance)
            raise
        for instance, session in taken:
            _bring_back(instance, session)

    def _change(self, instances: Sequence[ModelType], work: Callable[[Scope], object]) -> None:
        """Write instances, which are as they were if it is rolled back, now or later."""
        mementos = [self.codec.capture(instance) for instance in instances]

        def revert() -> None:
            for instance, memento in zip(instances, mementos, strict=True):
                self.codec.revert(instance, memento)

        def undoable(scope: Scope) -> None:
            scope.outcomes.add(rolled_back=revert)
            work(scope)

        write(undoable)


def _bring_back(instance: Any, session: Session) -> bool:
    """Give a session its instance back; False where it has another one of the same record, which it reads again."""
    identity = instance_state(instance).key
    other = None if identity is None else session.identity_map.get(identity)
    if other is None or other is instance:
        session.add(instance)
        return True
    session.expire(other)
    return False
