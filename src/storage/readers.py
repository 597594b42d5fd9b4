"""Connections to read with: each thread keeps one, in autocommit, so that nothing stays open between two reads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar
from weakref import WeakSet

from sqlalchemy import Engine, PoolProxiedConnection
from sqlalchemy.engine.interfaces import DBAPIConnection

R = TypeVar("R")


class Readers:
    """The connections with which the threads of this process read one database.

    Args:
        engine: The engine of the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._local = threading.local()
        self._mutex = threading.Lock()
        self._all: WeakSet[_Reader] = WeakSet()
        self._closed = False

    def read(self, work: Callable[[DBAPIConnection], R]) -> R:
        """Read with the connection of this thread.

        Args:
            work: Called with the driver's connection; the thread gets another one when it raises.

        Returns:
            What the work returned.
        """
        own: _Reader = getattr(self._local, "reader", None) or self._new_reader()
        own.busy = True  # before the look at _closed, as close() sets that before it looks at busy
        reader = _Reader() if self._closed else own  # another for this read alone, where the thread's own is closing
        try:
            return work(reader.driver(self._engine))
        except Exception:
            reader.drop()  # it may be broken, and opening another costs little
            raise
        finally:
            own.busy = False
            if self._closed:
                reader.drop()
                own.drop()  # close() may have found it busy, and left it to this

    def close(self) -> None:
        """Close every connection, at once or when the read ends for which it is in use."""
        self._closed = True
        with self._mutex:
            readers = list(self._all)
        for reader in readers:
            if not reader.busy:
                reader.drop()

    def _new_reader(self) -> _Reader:
        reader: _Reader = _Reader()
        self._local.reader = reader
        with self._mutex:
            self._all.add(reader)
        return reader


class _Reader:
    """What one thread reads with."""

    __slots__ = ("__weakref__", "_kept", "busy")

    def __init__(self) -> None:
        self.busy = False
        self._kept: list[PoolProxiedConnection] = []  # one or none; a pop is atomic, where two threads drop it

    def driver(self, engine: Engine) -> DBAPIConnection:
        driver = self._kept[0].dbapi_connection if self._kept else None
        if driver is None:
            self.drop()
            self._kept.append(engine.raw_connection())
            driver = self._kept[0].dbapi_connection
        assert driver is not None  # noqa: S101 - it has just been opened
        return driver

    def drop(self) -> None:
        with suppress(IndexError):
            self._kept.pop().invalidate()
