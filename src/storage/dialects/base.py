"""What the rest of storage asks of a database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Any, ClassVar

from pydantic_core import to_json
from sqlalchemy import URL, Column, Connection, Engine, Table
from sqlalchemy.engine.interfaces import DBAPIConnection

from storage.dialects.write_gate import WriteGate
from storage.errors import StorageError


class Dialect(ABC):
    """One kind of database."""

    name: ClassVar[str]
    """SQLAlchemy's name of it."""
    reads_inline: ClassVar[bool]
    """Whether a point read is cheaper than a hop to another thread, so that an event loop may do it itself."""
    counts_given_ids: ClassVar[bool]
    """Whether the counter of a table's keys moves when a record brings a key of its own."""

    names_references: ClassVar[bool]
    """Whether the database says which reference a write would break."""

    @abstractmethod
    def create_engine(self, url: URL, *, busy_timeout: float) -> Engine:
        """Make an engine whose write transactions are safe in anybody's hands.

        Args:
            url: The database.
            busy_timeout: The longest wait for a lock, in seconds.

        Raises:
            ConfigurationError: The driver is not installed.
        """

    def gate_of(self, engine: Engine) -> WriteGate | None:
        """The gate through which writers pass one at a time, None where the server itself lets them write at once."""
        del engine
        return None

    @abstractmethod
    def begin_write(self, connection: Connection) -> None:
        """Open the transaction for writing now, so that what it reads first stays true until it writes."""

    def check_connection(self, driver: DBAPIConnection) -> None:  # noqa: B027 - most databases need no check
        """Raise the driver's error where a connection that was kept no longer reaches the database."""

    @abstractmethod
    def begin_snapshot(self, connection: Connection) -> None:
        """Make all that the connection reads until it is closed one state of the database, while others write."""

    @abstractmethod
    def keeps_decimal(self, value: Decimal, scale: int) -> bool:
        """Whether a numeric column that returns `scale` decimal places gives back an equal number."""

    @abstractmethod
    def translate(self, error: Exception) -> StorageError | None:
        """Say in our terms what an error of the driver's means, None for any other and where we have no term for it."""

    def translate_commit(self, error: Exception) -> StorageError | None:
        """Say in our terms what it means that a commit failed; nothing is stored unless it says otherwise."""
        return self.translate(error)

    def is_lost(self, error: Exception) -> bool:
        """Whether an error means that the connection is gone, so that another may do what it did not."""
        del error
        return False

    @abstractmethod
    def allocate_ids(self, connection: Connection, key: Column[int], count: int) -> range | list[int]:
        """Take `count` integer keys, in rising order, that no record has or ever had; the transaction writes."""

    @abstractmethod
    def lock_table(self, connection: Connection, table: Table) -> None:
        """Keep other writers of a table waiting until the transaction ends."""


def json_text(value: Any) -> str:
    """Print a value of a JSON column, dates, decimals and UUIDs inside it as strings.

    Example:
        >>> json_text({"axis": 1, "note": None})
        '{"axis":1,"note":null}'
    """
    return to_json(value).decode()
