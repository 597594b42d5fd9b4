"""Models of the tests, in a registry of their own, so that no other test has to make their tables."""

import enum
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy.orm import registry
from sqlmodel import Field, Relationship, SQLModel


class Base(SQLModel, registry=registry()):
    """Root of the models."""


class Recipe(Base, table=True):
    """Soft-deleted, with a JSON column."""

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(max_length=40)
    speed: float = 1.0
    settings: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON)
    deleted_at: datetime | None = Field(default=None, index=True)


class Bin(Base, table=True):
    """Deleted for good, with a unique column."""

    id: int | None = Field(default=None, primary_key=True)
    code: str = Field(unique=True)
    capacity: int = Field(default=0, sa_type=sa.Integer)

    __table_args__ = (sa.CheckConstraint("capacity >= 0"),)


class Shelf(Base, table=True):
    """Has jobs."""

    id: int | None = Field(default=None, primary_key=True)
    jobs: list["Job"] = Relationship(back_populates="shelf")


class Job(Base, table=True):
    """Refers to a shelf."""

    id: int | None = Field(default=None, primary_key=True)
    shelf_id: int = Field(foreign_key="shelf.id")
    shelf: Shelf | None = Relationship(back_populates="jobs")


class Ticket(Base, table=True):
    """With a big key."""

    id: int | None = Field(default=None, primary_key=True, sa_type=sa.BigInteger)
    deleted_at: datetime | None = None


class Part(Base, table=True):
    """With a text as its key."""

    number: str = Field(primary_key=True)
    weight: float = 0.0
    deleted_at: datetime | None = None


class Sample(Base, table=True):
    """With a UUID as its key."""

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    label: str = ""
    deleted_at: datetime | None = None


class Color(enum.Enum):
    """With an alias."""

    RED = "r"
    GREEN = "g"
    LIME = "g"  # noqa: PIE796 - an alias on purpose


class Point(BaseModel):
    """What a typed JSON column keeps."""

    x: float
    y: float = 0.0
    seen: datetime | None = None


class Fixture(BaseModel):
    """The same, nested, with aliases as a TypeScript front end likes them."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    first_corner: Point
    more_corners: list[Point] = []
    color: Color = Color.RED


class Everything(Base, table=True):
    """A column of every kind, each of which may be empty."""

    id: int | None = Field(default=None, primary_key=True)
    small: int | None = Field(default=None, sa_type=sa.SmallInteger)
    integer: int | None = None
    big: int | None = Field(default=None, sa_type=sa.BigInteger)
    number: float | None = None
    flag: bool | None = None
    text: str | None = None
    data: bytes | None = None
    plain_decimal: Decimal | None = None
    money: Decimal | None = Field(default=None, max_digits=12, decimal_places=3)
    exact: Decimal | None = Field(default=None, sa_type=sa.String)
    moment: datetime | None = None
    day: date | None = None
    clock: time | None = None
    span: timedelta | None = None
    uuid: UUID | None = None
    color: Color | None = None
    mapping: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON)
    items: list[Any] | None = Field(default=None, sa_type=sa.JSON)
    anything: Any = Field(default=None, nullable=True, sa_type=sa.JSON)
    fixture: Fixture | None = Field(default=None, sa_type=sa.JSON)
    points: list[Point] | None = Field(default=None, sa_type=sa.JSON)
