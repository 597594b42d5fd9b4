"""Scopes: what runs together on one connection, and who may join it.

A scope belongs to the task and thread that opened it. The innermost one is what accessors, `transaction()` and
`use_session()` join; child tasks and other threads, which inherit context variables but no scope, start their own.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from storage.dialects.base import Dialect
from storage.owner import current_task

logger = logging.getLogger("storage")

Callback = Callable[[], None]


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
        self.callbacks: list[Callback] = []
        self.written: set[Any] = set()
        self._connection = connection
        self._session = session

    @property
    def connection(self) -> Connection:
        """The connection, inside the session's transaction where there is a session."""
        if self._session is not None:
            return self._session.connection()
        assert self._connection is not None  # noqa: S101 - one of both is given
        return self._connection

    @property
    def session(self) -> Session:
        """The session; its commit ends no more than a savepoint of its own, the scope's owner decides the rest."""
        if self._session is None:
            self._session = Session(self._connection, join_transaction_mode="create_savepoint", expire_on_commit=False)
        return self._session

    @property
    def has_session(self) -> bool:
        """Whether somebody has asked for the session."""
        return self._session is not None

    def flush(self) -> None:
        """Write what is pending in the session, so that statements on the connection see it."""
        if self._session is not None:
            self._session.flush()

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        """Run a statement on the connection, the driver's errors in our terms."""
        with translated(self.dialect):
            return self.connection.execute(statement, parameters)

    def finish(self) -> None:
        """Commit the session, where somebody has asked for one."""
        if self._session is not None:
            self._session.commit()

    def close(self) -> None:
        """Let go of the session; what it did not commit is rolled back, and its records stay usable."""
        if self._session is not None:
            self._session.close()

    @contextmanager
    def savepoint(self) -> Iterator[Session]:
        """Join with the session: what fails inside is undone alone, what succeeds waits for the scope's owner."""
        session, deferred = self.session, len(self.callbacks)
        nested = session.begin_nested()
        try:
            yield session
            if nested.is_active:  # not where the block itself committed or rolled back
                nested.commit()
        except BaseException:
            del self.callbacks[deferred:]
            if nested.is_active:
                nested.rollback()
            else:
                session.rollback()
            raise

    @contextmanager
    def child(self) -> Iterator[Scope]:
        """Open a scope inside this one, undone alone if it fails; both sessions see what either wrote."""
        self.flush()
        inner = Scope(self.dialect, connection=self.connection)
        with inner.connection.begin_nested(), closing(inner), entered(inner):
            yield inner
            inner.finish()
        self.callbacks += inner.callbacks
        self.written |= inner.written
        self._forget(inner)

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


class _Entered(threading.local):
    """The innermost scope of each task of a thread, None standing for no task."""

    def __init__(self) -> None:
        self.by_task: dict[asyncio.Task[Any] | None, Scope] = {}


_entered = _Entered()


def current_scope() -> Scope | None:
    """The innermost open scope of this task and thread."""
    return _entered.by_task.get(current_task()) if _entered.by_task else None


@contextmanager
def entered(scope: Scope) -> Iterator[Scope]:
    """Make a scope the innermost one of this task and thread."""
    task, scopes = current_task(), _entered.by_task
    outer = scopes.get(task)
    scopes[task] = scope
    try:
        yield scope
    finally:
        if outer is None:
            del scopes[task]
        else:
            scopes[task] = outer


@contextmanager
def open_transaction(engine: Engine, dialect: Dialect) -> Iterator[Scope]:
    """Open a scope with a write transaction of its own, committed at the end unless the block raises."""
    with translated(dialect):
        connection = engine.connect()
    with connection:  # which rolls back at its end what was not committed
        with translated(dialect):
            connection.begin()
            dialect.begin_write(connection)
        scope = Scope(dialect, connection=connection)
        with closing(scope), entered(scope):
            yield scope
            scope.finish()
        with translated(dialect):
            connection.commit()
    run_callbacks(scope.callbacks)


@contextmanager
def open_session(engine: Engine, dialect: Dialect) -> Iterator[Scope]:
    """Open a scope with a session of its own, which opens a transaction when it first writes."""
    scope = Scope(dialect, session=Session(engine, expire_on_commit=False))
    with closing(scope):
        with entered(scope):
            yield scope
        with translated(dialect):
            scope.finish()
    run_callbacks(scope.callbacks)


@contextmanager
def adopt_session(session: Session, dialect: Dialect) -> Iterator[Scope]:
    """Open a scope on somebody's session, who commits it or not."""
    scope = Scope(dialect, session=session)
    with entered(scope):
        yield scope
    if scope.callbacks:
        _run_after_commit(session, scope.callbacks)


def _run_after_commit(session: Session, callbacks: list[Callback]) -> None:
    """Run callbacks when the session's outermost transaction commits, forget them when it rolls back."""

    def stop() -> None:
        event.remove(session, "after_commit", committed)
        event.remove(session, "after_rollback", rolled_back)

    def committed(_session: Session) -> None:
        if not session.in_nested_transaction():
            stop()
            run_callbacks(callbacks)

    def rolled_back(_session: Session) -> None:
        stop()

    event.listen(session, "after_commit", committed)
    event.listen(session, "after_rollback", rolled_back)


def run_callbacks(callbacks: list[Callback]) -> None:
    """Run what waited for the commit; the data is safe by now, so a failure is logged and stops nobody."""
    for callback in callbacks:
        try:
            callback()
        except Exception:
            logger.exception("a callback failed after the commit")


@contextmanager
def translated(dialect: Dialect) -> Iterator[None]:
    """Raise the driver's errors in our terms."""
    try:
        yield
    except DBAPIError as error:
        if meaning := dialect.translate(error):
            raise meaning from error
        raise
