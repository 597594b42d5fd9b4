"""What one would write with SQLModel alone: a session for each call, and an audit row beside each record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event
from sqlmodel import Session, col, select

from bench.part import Part
from storage.auditor import AuditLog
from storage.dialects.sqlite_driver import DRIVER


class PlainSession:
    """A session for each call, with the pragmas of the product.

    Args:
        path: The file; it has its tables.
        synchronous: How durable a commit is.
    """

    def __init__(self, path: Path, synchronous: str = "FULL") -> None:
        self.path = path
        self._engine = create_engine(f"sqlite:///{path}", module=DRIVER)

        @event.listens_for(self._engine, "connect")
        def configure(connection: Any, _record: Any) -> None:
            for pragma in ("journal_mode = WAL", f"synchronous = {synchronous}", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}")

    def insert(self, part: Part) -> Part:
        """Insert a record."""
        with Session(self._engine) as session:
            session.add(part)
            session.flush()
            session.add(_entry(part, "create", None, part.model_dump(mode="json")))
            session.commit()
            session.refresh(part)
        return part

    def insert_many(self, parts: Sequence[Part]) -> Sequence[Part]:
        """Insert records, all or none."""
        with Session(self._engine) as session:
            session.add_all(parts)
            session.flush()
            session.add_all([_entry(part, "create", None, part.model_dump(mode="json")) for part in parts])
            session.commit()
            for part in parts:
                session.refresh(part)
        return parts

    def get(self, key: int) -> Part | None:
        """Read a record."""
        with Session(self._engine) as session:
            return session.get(Part, key)

    def all(self) -> Sequence[Part]:
        """Read every record."""
        with Session(self._engine) as session:
            return session.exec(select(Part).where(col(Part.deleted_at).is_(None)).order_by(col(Part.id))).all()

    def edits(self, keys: Sequence[int]) -> list[tuple[int, int]]:
        """Keys with new quantities."""
        return [(key, key + 1) for key in keys]

    def save(self, edit: tuple[int, int]) -> Part:
        """Write the quantity of a record."""
        key, quantity = edit
        with Session(self._engine) as session:
            part = session.get_one(Part, key)
            before = part.model_dump(mode="json")
            part.quantity = quantity
            session.add(_entry(part, "update", before, part.model_dump(mode="json")))
            session.commit()
            session.refresh(part)
        return part

    def delete(self, key: int) -> None:
        """Delete a record softly."""
        with Session(self._engine) as session:
            part = session.get_one(Part, key)
            before = part.model_dump(mode="json")
            part.deleted_at = datetime.now(UTC)
            session.add(_entry(part, "soft_delete", before, part.model_dump(mode="json")))
            session.commit()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def _entry(part: Part, operation: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> AuditLog:
    return AuditLog(
        timestamp=datetime.now(UTC),
        component="parts",
        record_id=part.id,
        record_key=str(part.id),
        operation=operation,
        actor="bench",
        before=before,
        after=after,
    )
