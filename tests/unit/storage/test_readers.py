"""Connections to read with: what is kept, and what is closed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.engine.interfaces import DBAPIConnection

from storage.readers import Readers


class ClosedMeanwhile(Readers):
    """Another thread closes it just when a read begins: after it took its connection, before it looks."""

    racing = False

    @property
    def _closed(self) -> bool:
        if self.racing:
            self.racing = False
            self.close()
        return self._is_closed

    @_closed.setter
    def _closed(self, closed: bool) -> None:
        self._is_closed = closed


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = sa.create_engine("sqlite://", poolclass=sa.QueuePool)
    yield engine
    engine.dispose()


@pytest.fixture
def opened(engine: Engine) -> list[DBAPIConnection]:
    """The connections that are open."""
    connections: list[DBAPIConnection] = []
    sa.event.listen(engine, "connect", lambda driver, _record: connections.append(driver))
    sa.event.listen(engine, "close", lambda driver, _record: connections.remove(driver))
    return connections


def one(driver: DBAPIConnection) -> int:
    cursor = driver.cursor()
    cursor.execute("SELECT 1")
    (number,) = cursor.fetchone() or (0,)
    cursor.close()
    return int(number)


def test_a_thread_keeps_its_connection_until_the_end(engine: Engine, opened: list[DBAPIConnection]) -> None:
    readers = Readers(engine)
    assert readers.read(one) == readers.read(one) == 1
    assert len(opened) == 1
    readers.close()

    assert opened == []


def test_a_read_that_begins_while_all_is_closed_leaves_nothing_open(
    engine: Engine, opened: list[DBAPIConnection]
) -> None:
    readers = ClosedMeanwhile(engine)
    readers.read(one)
    readers.racing = True
    assert readers.read(one) == 1

    assert opened == []
