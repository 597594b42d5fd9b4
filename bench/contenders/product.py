"""The accessor, as users have it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import event

from bench.part import Part
from storage.accessor import ModelAccessor
from storage.bootstrap import bootstrap
from storage.database import get_engine, set_database_url

NOWHERE = "sqlite://"
"""A database that ends with its connection."""


def open_database(path: Path, synchronous: str = "FULL") -> None:
    """Make a file the database of this process, with its tables.

    Args:
        path: The file.
        synchronous: `FULL`, as the product has it, or `NORMAL`, which is here for the comparison only.
    """
    url = f"sqlite:///{path}"
    set_database_url(NOWHERE)  # which closes the connections there are
    set_database_url(url)
    if synchronous != "FULL":

        @event.listens_for(get_engine(), "connect")
        def configure(connection: Any, _record: Any) -> None:
            connection.execute(f"PRAGMA synchronous = {synchronous}")

    bootstrap(database_url=url)


class Product:
    """The accessor on a database of its own.

    Args:
        path: The file.
        synchronous: How durable a commit is.
    """

    def __init__(self, path: Path, synchronous: str = "FULL") -> None:
        self.path = path
        self.accessor = ModelAccessor(Part, "parts")
        open_database(path, synchronous)
        self.insert = self.accessor.insert
        self.insert_many = self.accessor.insert_many
        self.get = self.accessor.get
        self.all = self.accessor.all
        self.save = self.accessor.save
        self.delete = self.accessor.delete

    def edits(self, keys: Sequence[int]) -> list[Part]:
        """Read records and change them."""
        found = [self.accessor.get(key) for key in keys]
        parts = [part for part in found if part is not None]
        for part in parts:
            part.quantity += 1
        return parts

    def close(self) -> None:
        """Forget the file."""
        set_database_url(NOWHERE)
