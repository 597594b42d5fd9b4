"""What is in the files of a database, read and written by a connection of its own."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

from storage.dialects.sqlite_driver import DRIVER


def rows(path: Path, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run a query on a file."""
    with closing(DRIVER.connect(str(path))) as connection:
        return list(connection.execute(query, parameters))


def values(path: Path, query: str) -> list[Any]:
    """The first column of a query's rows."""
    return [row[0] for row in rows(path, query)]


def change(path: Path, *statements: str) -> Path:
    """Run statements on a file that nobody else uses."""
    with closing(DRIVER.connect(str(path), isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    return path


def damage(path: Path, table: str) -> None:
    """Destroy the first page of a table in a file that nobody else uses."""
    ((page, size),) = rows(
        path, "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = ?", table
    )
    with path.open("rb+") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def copied(path: Path, target: Path) -> Path:
    """Copy a file that nobody uses."""
    shutil.copy(path, target)
    return target


def left_over(folder: Path) -> list[str]:
    """The temporary files in a folder: all but databases, what SQLite has beside them, and safety copies."""
    kept = (".db", ".db-wal", ".db-shm", ".sqlite")
    return sorted(item.name for item in folder.iterdir() if item.name.startswith(".") or not item.name.endswith(kept))


def safety_copies(path: Path) -> list[Path]:
    """The safety copies beside a database, by name."""
    return sorted(path.parent.glob(f"{path.stem}.before-restore-*.sqlite"))
