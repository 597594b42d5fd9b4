"""The models of the records under test, in tables that no other test knows."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Base(SQLModel, registry=registry()):
    """Keeps the tables of these tests to themselves."""


class Shift(Enum):
    early = "e"
    late_night = "l"


class Gripper(BaseModel):
    """What a typed JSON column keeps."""

    vacuum: bool
    force: float = 1.5
    note: str | None = None
    shift: Shift = Shift.early


class Person(Base, table=True):
    """Soft-deleted, a unique value, defaults that are zero, not zero and null."""

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(max_length=20)
    badge: str | None = Field(default=None, unique=True, sa_column_kwargs={"name": "badge_code"})
    level: int = 1
    trips: int = 0
    greeting: str | None = "hello"
    deleted_at: datetime | None = Field(default=None, index=True)


class Errand(Base, table=True):
    """Deleted for good; refers to a person."""

    id: int | None = Field(default=None, primary_key=True)
    title: str
    person_id: int | None = Field(default=None, foreign_key="person.id")
    count: int = Field(default=1, ge=0)


class Formula(Base, table=True):
    """A key of text."""

    code: str = Field(primary_key=True)
    grams: float = 0.0
    deleted_at: datetime | None = None


class Fixture(Base, table=True):
    """A key that the model makes."""

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    label: str = ""


class Meter(Base, table=True):
    """A key of 64 bits."""

    id: int | None = Field(default=None, primary_key=True, sa_type=sa.BigInteger)
    total: int = Field(default=0, sa_type=sa.BigInteger)


class Sample(Base, table=True):
    """A column of every kind."""

    id: int | None = Field(default=None, primary_key=True)
    small: int | None = Field(default=None, sa_type=sa.SmallInteger)
    integer: int | None = None
    big: int | None = Field(default=None, sa_type=sa.BigInteger)
    ratio: float | None = None
    flag: bool | None = None
    text: str | None = None
    short: str | None = Field(default=None, max_length=5)
    data: bytes | None = None
    price: Decimal | None = Field(default=None, max_digits=15, decimal_places=3)
    exact: Decimal | None = Field(default=None, sa_type=sa.String)
    at: datetime | None = None
    day: date | None = None
    clock: time | None = None
    span: timedelta | None = None
    token: UUID | None = None
    shift: Shift | None = None
    settings: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON)
    points: list[Any] | None = Field(default=None, sa_type=sa.JSON)
    gripper: Gripper | None = Field(default=None, sa_type=sa.JSON)
    anything: Any = Field(default=None, sa_type=sa.JSON, nullable=True)
