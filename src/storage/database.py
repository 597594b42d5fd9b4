"""The door to the database: its URL, its engine, transactions and sessions."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import anyio.to_thread
from sqlalchemy import URL, Engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlmodel import Session

from storage import scope as scopes
from storage.damage import forget_damage
from storage.dialects.base import Dialect
from storage.dialects.postgresql import POSTGRESQL
from storage.dialects.sqlite import SQLITE
from storage.errors import ConfigurationError, WriteWouldDeadlock
from storage.group_commit import GroupCommit
from storage.readers import Readers

DEFAULT_URL = "sqlite:///./storage.db"
"""Where the data is unless something says otherwise."""
URL_VARIABLE = "VENTION_STORAGE_DATABASE_URL"
"""The environment variable that says where the data is."""
BUSY_TIMEOUT_VARIABLE = "VENTION_STORAGE_BUSY_TIMEOUT"
"""The environment variable that says how many seconds a write waits for its lock."""
DEFAULT_BUSY_TIMEOUT = 5.0
"""Seconds that a write waits for its lock unless the environment says otherwise."""

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Database:
    """An engine and the kind of database behind it."""

    url: URL
    """Where the database is."""
    dialect: Dialect
    """What kind it is."""
    engine: Engine
    """SQLAlchemy's engine, safe to share between threads."""
    commits: GroupCommit | None
    """The writer that lets concurrent writes share a commit, None where the server does that itself."""
    readers: Readers
    """The connections that threads keep to read with, where the dialect reads inline."""

    def close(self) -> None:
        """Close every connection, those in use when their running calls end."""
        event.listen(self.engine, "checkin", _close_returned)
        self.readers.close()
        if self.commits is not None:
            self.commits.close()
        self.engine.dispose()


def _close_returned(_driver: Any, record: ConnectionPoolEntry) -> None:
    """Close a connection that comes back to the pool of a database that is closed."""
    record.close()


class _Door:
    """The one database of this process, opened when it is first needed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.url: str | None = None
        self.opened: str | None = None
        self.database: Database | None = None

    def wanted(self) -> str:
        """The URL that was set, else the environment's, else the default."""
        return self.url or os.environ.get(URL_VARIABLE) or DEFAULT_URL

    def close_another(self, url: str) -> None:
        """Close the database unless it is the one at this URL."""
        if self.database is not None and self.opened != url:
            self.database.close()
            self.database = None


_door = _Door()
_of_parent: list[Database] = []  # kept, since closing a connection of the parent's would end its locks


def _after_fork() -> None:
    """Open the database anew in a forked child: neither threads nor SQLite's connections cross a fork."""
    if _door.database is not None:
        _of_parent.append(_door.database)
    _door.lock, _door.database = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def set_database_url(url: str) -> None:
    """Choose the database for this process.

    Args:
        url: An SQLAlchemy URL, `sqlite:///./my_app.db` or `postgresql://user@host/name`. A database that was open under
            another URL is closed.

    Raises:
        ConfigurationError: The URL is not one, or names a kind of database that storage does not know.

    Example:
        >>> set_database_url("sqlite://")
        >>> get_engine().url.get_backend_name()
        'sqlite'
    """
    _parse(url)
    with _door.lock:
        _door.url = url
        _door.close_another(url)


def follow_environment() -> None:
    """Go over to the database that the environment names now, unless `set_database_url` chose one."""
    with _door.lock:
        if _door.url is None:
            _door.close_another(_door.wanted())


def current_database() -> Database:
    """The database of this process: the URL that was set, else the environment's, else `sqlite:///./storage.db`.

    Raises:
        ConfigurationError: The URL, the timeout or the driver is not usable.
    """
    if (database := _door.database) is not None:
        return database
    with _door.lock:
        if _door.database is None:
            _door.opened = _door.wanted()
            _door.database = _open(_door.opened)
        return _door.database


def get_engine() -> Engine:
    """SQLAlchemy's engine of the database; `Session(get_engine())` is safe, its write transactions begin IMMEDIATE.

    Raises:
        ConfigurationError: The URL, the timeout or the driver is not usable.

    Example:
        >>> set_database_url("sqlite://")
        >>> with Session(get_engine()) as session:
        ...     session.connection().exec_driver_sql("SELECT 1").scalar()
        1
    """
    return current_database().engine


@contextmanager
def transaction() -> Iterator[Session]:
    """Run a block as one write transaction, committed at its end and rolled back if it raises.

    Accessors called inside join it, and so does another `transaction()`, which is undone alone if it raises; the outer
    one decides. It belongs to the task and thread that opened it: other tasks and threads wait for its end, so keep it
    short. Records read through the session stay usable after the block.

    Yields:
        The session.

    Raises:
        DatabaseBusy: Another writer kept its lock longer than the busy timeout.
        DatabaseUnavailable: The database cannot be written now.

    Example:
        >>> set_database_url("sqlite://")
        >>> with transaction() as session:
        ...     session.connection().exec_driver_sql("CREATE TABLE recipe (name TEXT)") and None
    """
    outer = scopes.current_scope()
    if outer is not None:
        with outer.savepoint() as session:
            yield session
        return
    database = current_database()
    with scopes.open_transaction(database.engine, database.dialect) as scope:
        yield scope.session


@contextmanager
def use_session(session: Session | None = None) -> Iterator[Session]:
    """Run a block with a session, so that accessors called inside join it.

    Args:
        session: A session to use; its owner commits it. Without one, the session of the transaction that is open, else
            a new one, committed at the end of the block and rolled back if it raises.

    Yields:
        The session.

    Raises:
        DatabaseUnavailable: The database cannot be written now.

    Example:
        >>> set_database_url("sqlite://")
        >>> with use_session() as session:
        ...     session.connection().exec_driver_sql("SELECT 1").scalar()
        1
    """
    outer, database = scopes.current_scope(), current_database()
    if session is None and outer is not None:
        with outer.savepoint() as joined:
            yield joined
    elif session is None:
        with scopes.open_session(database.engine, database.dialect) as scope:
            yield scope.session
    elif outer is not None and outer.has_session and outer.session is session:
        yield session
    else:
        with scopes.adopt_session(session, database.dialect):
            yield session


def after_commit(callback: Callable[[], None]) -> None:
    """Run something once the data is safe: now where no transaction is open, else after its commit.

    Args:
        callback: Called without arguments; forgotten when the transaction rolls back. What it raises after a commit is
            logged, since the data is safe by then.

    Example:
        >>> after_commit(lambda: print("told the screens"))
        told the screens
    """
    scope = scopes.current_scope()
    if scope is None:
        callback()
    else:
        scope.outcomes.add(committed=callback)


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call synchronous storage code from async code: the function runs on a worker thread, the event loop goes on.

    The function goes on to its end when the awaiting task is cancelled, and so does what it writes.

    Args:
        function: What to call, such as `recipes.insert`.
        args: Its positional arguments.
        kwargs: Its keyword arguments.

    Returns:
        What the function returns.

    Raises:
        WriteWouldDeadlock: The task has a transaction open, which the worker thread would have to wait for.

    Example:
        >>> import asyncio
        >>> asyncio.run(in_thread(sorted, [2, 1]))
        [1, 2]
    """
    refuse_inside_transaction("in_thread")
    return await anyio.to_thread.run_sync(functools.partial(function, *args, **kwargs), abandon_on_cancel=True)


def refuse_inside_transaction(what: str) -> None:
    """Refuse to leave the thread of an open transaction, which whoever writes elsewhere has to wait for.

    Raises:
        WriteWouldDeadlock: The calling task has one open.
    """
    if scopes.current_scope() is not None:
        message = f"{what} is called inside a transaction of the same task"
        raise WriteWouldDeadlock(message, hint="call storage directly, without await, so that it joins the transaction")


def _parse(url: str) -> tuple[URL, Dialect]:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        message = "the database URL is not one"
        raise ConfigurationError(message, hint="write it like sqlite:///./my_app.db") from error
    dialects = {dialect.name: dialect for dialect in (SQLITE, POSTGRESQL)}
    if (dialect := dialects.get(parsed.get_backend_name())) is None:
        message = f"storage does not know the database kind {parsed.get_backend_name()!r}"
        raise ConfigurationError(message, hint="use sqlite:///… or postgresql://…")
    return parsed, dialect


def _open(url: str) -> Database:
    parsed, dialect = _parse(url)
    try:
        engine = dialect.create_engine(parsed, busy_timeout=_busy_timeout())
    except (ImportError, NoSuchModuleError) as error:
        message = f"the driver of {parsed.drivername} is not installed"
        raise ConfigurationError(message, hint="install vention-storage[postgresql]") from error
    forget_damage()
    gate = dialect.gate_of(engine)
    commits = None if gate is None else GroupCommit(engine, dialect, gate)
    return Database(url=parsed, dialect=dialect, engine=engine, commits=commits, readers=Readers(engine))


def _busy_timeout() -> float:
    """The longest wait for a lock, in seconds."""
    given = os.environ.get(BUSY_TIMEOUT_VARIABLE)
    try:
        seconds = DEFAULT_BUSY_TIMEOUT if given is None else float(given)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        message = f"{BUSY_TIMEOUT_VARIABLE} is {given!r}, not a number of seconds above 0"
        raise ConfigurationError(message, hint="set it to 5, for example")
    return seconds
