"""What the programs under test keep: audited parts, whose hooks write too, and notes, which are not audited."""

from __future__ import annotations

import os
import random
import time
from typing import Any

from sqlalchemy.orm import registry
from sqlmodel import Field, Session, SQLModel

from storage import database
from storage.accessor import ModelAccessor
from storage.bootstrap import bootstrap
from storage.schema.tables import create, prepare

FIRST_JOB = "first"
"""The job that made the shared part."""
SHARED = 1
"""The key of the part that everybody counts up."""


class Base(SQLModel, registry=registry()):
    """Keeps the tables of these tests to themselves."""


class Part(Base, table=True):
    __tablename__ = "torture_part"

    id: int | None = Field(default=None, primary_key=True)
    job: str
    """The job that wrote it last."""
    revision: int = 0


class Receipt(Base, table=True):
    """What a hook of the parts adds by an accessor."""

    __tablename__ = "torture_receipt"

    id: int | None = Field(default=None, primary_key=True)
    job: str


class Note(Base, table=True):
    """What a hook, or a user's own session, adds without any audit."""

    __tablename__ = "torture_note"

    id: int | None = Field(default=None, primary_key=True)
    job: str


def tell(line: str) -> None:
    """Say a line to the test, unbuffered: what was told before a SIGKILL arrives."""
    os.write(1, f"{line}\n".encode())


class Workshop:
    """The accessors, and the hooks of the parts.

    Args:
        pause: The longest that a hook, or a transaction between two writes, takes its time, in seconds.
        telling: Whether the hooks say when they begin and end.
    """

    def __init__(self, *, pause: float = 0.0, telling: bool = False) -> None:
        self.parts = ModelAccessor(Part, "parts")
        self.receipts = ModelAccessor(Receipt, "receipts")
        self._pause, self._telling = pause, telling
        self.parts.after_insert()(self._add_receipt)
        self.parts.after_update()(self._add_note)

    def length_of_pause(self) -> float:
        return random.random() * self._pause  # noqa: S311 - not for secrets

    def pause(self) -> None:
        """Take some time, at random."""
        if self._pause:
            time.sleep(self.length_of_pause())

    def _add_receipt(self, _session: Session, part: Part) -> None:
        if self._telling:
            tell(f"enter {part.job}")
        self.receipts.insert(Receipt(job=part.job), actor=part.job[:100])
        self.pause()
        if self._telling:
            tell(f"leave {part.job}")

    def _add_note(self, session: Session, part: Part) -> Any:
        session.add(Note(job=part.job))
        session.commit()  # which ends no more than a savepoint


def prepare_file(url: str) -> None:
    """Make the tables and the shared part, and close the database again."""
    open_file(url)
    Workshop().parts.insert(Part(job=FIRST_JOB), actor=FIRST_JOB)
    database.set_database_url("sqlite://")


def open_file(url: str) -> None:
    """Open the database of a test."""
    bootstrap(database_url=url)
    prepare(Base.metadata)
    create(database.get_engine(), Base.metadata)
