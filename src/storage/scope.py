"""Scopes: what runs together on one connection, and who may join it.

A scope belongs to the task and thread that opened it. The innermost one is what accessors, `transaction()` and
`use_session()` join; child tasks and other threads, which inherit context variables but no scope, start their own.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Connection, Engine, Executable, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import RollbackToSavepointClause
from sqlmodel import Session

from storage.damage import note_damage
from storage.dialects.base import Dialect
from storage.errors import DatabaseDamaged
from storage.outcomes import Outcomes
from storage.owner import Owner, current_owner
from storage.statements import Statement

_OUTCOMES = "vention_storage_outcomes"  # where a session keeps what waits for its commit


class Scope:
    """One connection, the session on it, and what to do once it is committed.

    Args:
        dialect: The kind of database.
        connection: The connection, None to take the session's.
        session: The session, None to make one when it is asked for.
    """

    def __init__(
        self, dialect: Dialect, *, connection: Connection | None = None, session: Session | None = None
    ) -> None:
        self.dialect = dialect
        self.written: set[Any] = set()
        self.owner: Owner | None = None
        self._connection = connection
        self._session = session
        self.outcomes = Outcomes() if session is None else _outcomes_of(session)

    @property
    def connection(self) -> Connection:
        """The connection, inside the session's transaction where there is a session."""
        if self._session is not None:
            with translated(self.dialect):
                return self._session.connection()
        assert self._connection is not None  # noqa: S101 - one of both is given
        return self._connection

    @property
    def session(self) -> Session:
        """The session; its commit ends no more than a savepoint of its own, the scope's owner decides the rest."""
        if self._session is None:
            self._session = Session(self._connection, join_transaction_mode="create_savepoint", expire_on_commit=False)
            self._session.info[_OUTCOMES] = self.outcomes
            self.outcomes.follow(self._session)
        return self._session

    @property
    def has_session(self) -> bool:
        """Whether somebody has asked for the session."""
        return self._session is not None

    def flush(self) -> None:
        """Write what is pending in the session, so that statements on the connection see it."""
        if self._session is not None:
            with translated(self.dialect):
                self._session.flush()

    def execute(self, statement: Executable, parameters: Mapping[str, Any]) -> None:
        """Run a statement with all that SQLAlchemy does around it, the driver's errors in our terms."""
        with translated(self.dialect):
            self.connection.execute(statement, parameters)

    def rows(self, statement: Statement, parameters: Mapping[str, Any]) -> list[Sequence[Any]]:
        """Run a statement and fetch its rows, the driver's errors in our terms."""
        with translated(self.dialect):
            return statement.rows(self._prepared(statement), parameters)

    def run(self, statement: Statement, parameters: Mapping[str, Any]) -> None:
        """Run a statement, the driver's errors in our terms."""
        with translated(self.dialect):
            statement.run(self._prepared(statement), parameters)

    def run_many(self, statement: Statement, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement for each of several sets of parameters, the driver's errors in our terms."""
        with translated(self.dialect):
            statement.run_many(self._prepared(statement), parameters)

    def _prepared(self, statement: Statement) -> Connection:
        """The connection, in a write transaction where the statement writes; one that was lost is an error."""
        connection = self.connection
        if statement.writes:
            self.dialect.begin_write(connection)
        return connection

    def finish(self) -> None:
        """Commit the session, where somebody has asked for one."""
        if self._session is None:
            return
        self.flush()
        ended = translated if self._connection is not None else committing  # a savepoint, or the transaction itself
        with ended(self.dialect):
            self._session.commit()

    def close(self) -> None:
        """Let go of the session; what it did not commit is rolled back, and its records stay usable."""
        if self._session is not None:
            try:
                self._session.close()
            except DBAPIError:  # the database itself has rolled everything back, and the error that did it is under way
                self._session.invalidate()

    @contextmanager
    def savepoint(self) -> Iterator[Session]:
        """Join with the session: what fails inside is undone alone, what succeeds waits for the scope's owner."""
        session = self.session
        with translated(self.dialect):
            event.listen(session.connection(), "after_execute", _release_rolled_back)  # again is as good as once
            nested = session.begin_nested()
        try:
            yield session
            if nested.is_active:  # not where the block itself committed or rolled back
                with translated(self.dialect):
                    nested.commit()
        except BaseException:
            with suppress(DBAPIError):  # where the connection is lost, or all is rolled back; the first error tells
                if nested.is_active or session.get_nested_transaction() is nested:
                    nested.rollback()
                else:
                    session.rollback()
            raise

    @contextmanager
    def child(self) -> Iterator[Scope]:
        """Open a scope inside this one, undone alone if it fails; both sessions see what either wrote."""
        self.flush()
        with translated(self.dialect):
            connection = self.connection
            event.listen(connection, "after_execute", _release_rolled_back)
            part = connection.begin_nested()
        inner = Scope(self.dialect, connection=connection)
        try:
            with closing(inner), entered(inner):
                yield inner
                inner.finish()
            with translated(self.dialect):
                part.commit()
        except BaseException:
            with suppress(DBAPIError):  # the same
                part.close()
            inner.outcomes.undo()
            raise
        self.written |= inner.written
        self._forget(inner)
        self.outcomes.absorb(inner.outcomes)
        self.outcomes.add(rolled_back=functools.partial(self._forget, inner))

    def _forget(self, inner: Scope) -> None:
        """Let the session read again what an inner scope wrote, which for a session of a hook's can be anything."""
        if self._session is None:
            return
        if inner.has_session:
            self._session.expire_all()
            return
        for key in inner.written:
            if (instance := self._session.identity_map.get(key)) is not None:
                self._session.expire(instance)


def _release_rolled_back(
    connection: Connection, clause: Executable, _many: object, _parameters: object, _options: object, _result: object
) -> None:
    """Let go of a savepoint that was rolled back to: SQLAlchemy leaves it open, and every later one nests in it."""
    if isinstance(clause, RollbackToSavepointClause):
        connection.dialect.do_release_savepoint(connection, clause.ident)


_innermost: ContextVar[Scope | None] = ContextVar("storage_scope", default=None)


def current_scope() -> Scope | None:
    """The innermost open scope of this task and thread.

    Tasks and threads inherit the context in which they were started, so who opened the scope counts too; and a thread
    can run in the contexts of several callers, so the context counts as well.
    """
    scope = _innermost.get()
    return scope if scope is not None and scope.owner is not None and scope.owner.same(current_owner()) else None


@contextmanager
def entered(scope: Scope | None) -> Iterator[None]:
    """Make a scope the innermost one of this task and thread, None for as if none were open."""
    outer = _innermost.get()
    _innermost.set(scope)
    if scope is not None:
        scope.owner = current_owner()
    try:
        yield
    finally:
        if scope is not None:
            scope.owner = None
        _innermost.set(outer)


@contextmanager
def open_transaction(engine: Engine, dialect: Dialect) -> Iterator[Scope]:
    """Open a scope with a write transaction of its own, committed at the end unless the block raises."""
    with translated(dialect):
        connection = engine.connect()
    scope = Scope(dialect, connection=connection)
    try:
        with connection:  # which rolls back at its end what was not committed
            with translated(dialect):
                connection.begin()
                dialect.begin_write(connection)
            with closing(scope), entered(scope):
                yield scope
                scope.finish()
            with committing(dialect):
                connection.commit()
    except BaseException:
        scope.outcomes.undo()
        raise
    scope.outcomes.settle()


@contextmanager
def open_session(engine: Engine, dialect: Dialect) -> Iterator[Scope]:
    """Open a scope with a session of its own, which opens a transaction when it first writes."""
    scope = Scope(dialect, session=Session(engine, expire_on_commit=False))
    with closing(scope):
        with entered(scope):
            yield scope
        scope.finish()


@contextmanager
def adopt_session(session: Session, dialect: Dialect) -> Iterator[Scope]:
    """Open a scope on somebody's session, who commits it or not."""
    scope = Scope(dialect, session=session)
    with entered(scope):
        yield scope


def _outcomes_of(session: Session) -> Outcomes:
    """What waits for the commit of a session, whoever has it."""
    outcomes: Outcomes | None = session.info.get(_OUTCOMES)
    if outcomes is None:
        outcomes = session.info[_OUTCOMES] = Outcomes()
        outcomes.follow(session, functools.partial(_settle_outside, outcomes))
    return outcomes


def _settle_outside(outcomes: Outcomes) -> None:
    """Run what waited for a commit in the middle of a scope, so that what it writes does not join that scope."""
    with entered(None):
        outcomes.settle()


class translated:  # noqa: N801 - used like a function; a generator would cost several times as much
    """A block in which the driver's errors are raised in our terms."""

    __slots__ = ("_translate",)

    def __init__(self, dialect: Dialect) -> None:
        self._translate = dialect.translate

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, Exception) and (meaning := self._translate(error)):
            if isinstance(meaning, DatabaseDamaged):
                note_damage()
            raise meaning from error


class committing(translated):  # noqa: N801 - as above
    """A block that commits, in which the driver's errors are raised in our terms."""

    __slots__ = ()

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._translate = dialect.translate_commit
