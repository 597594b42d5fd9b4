"""Which models an accessor can keep."""

import enum
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
import sqlalchemy as sa
from pydantic import AwareDatetime, BaseModel, ConfigDict, EmailStr, NaiveDatetime
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from storage import columns
from storage.accessor import ModelAccessor
from storage.columns import ColumnKind, columns_of, key_of
from storage.errors import ConfigurationError, UnsupportedModel

REGISTRY = registry()


class Base(SQLModel, registry=REGISTRY):
    """Root of the models here, which each test declares for itself."""


@pytest.fixture(autouse=True)
def forget_models() -> Iterator[None]:
    """Let the next test use the same names."""
    yield
    REGISTRY.dispose()
    Base.metadata.clear()


def kinds(model: type[SQLModel]) -> dict[str, ColumnKind]:
    return {column.name: column.kind for column in columns_of(model)}


class Mode(enum.Enum):
    AUTO = 1


class Word(str, enum.Enum):  # noqa: UP042 - how users write it
    YES = "yes"


class Axis(BaseModel):
    speed: float


def test_a_column_is_described_by_its_attribute() -> None:
    class Tool(Base, table=True):
        id: int | None = Field(default=None, primary_key=True)
        label: str | None = Field(default=None, sa_column=sa.Column("the label", sa.String(8)))
        axis: Axis | None = Field(default=None, sa_type=sa.JSON)

    _, label, axis = columns_of(Tool)
    assert (label.name, label.column.name, label.annotation, label.nullable) == ("label", "the label", str, True)
    assert (axis.annotation, axis.kind) == (Axis, ColumnKind.JSON)
    assert key_of(Tool, columns_of(Tool)).name == "id"


def test_kinds_of_less_common_annotations() -> None:
    class Tool(Base, table=True):
        id: Annotated[int | None, Field(primary_key=True)] = None
        mode: Mode
        word: Word
        choice: Literal["a", "b"] = Field(default="a", sa_type=sa.String)
        union: str | None = None
        pipe: int | None = None
        aware: AwareDatetime = Field(sa_type=sa.DateTime(timezone=True))
        exact: Decimal = Field(sa_type=sa.String)
        anything: Any = Field(default=None, sa_type=sa.JSON)

    assert kinds(Tool) == {
        "id": ColumnKind.INTEGER,
        "mode": ColumnKind.ENUM,
        "word": ColumnKind.ENUM,
        "choice": ColumnKind.TEXT,
        "union": ColumnKind.TEXT,
        "pipe": ColumnKind.INTEGER,
        "aware": ColumnKind.DATETIME,
        "exact": ColumnKind.DECIMAL,
        "anything": ColumnKind.JSON,
    }


def test_text_of_a_special_form_is_text() -> None:
    assert columns._bare(EmailStr | None) == (str, True)  # which needs a package of its own to be a field


def test_fields_shared_by_a_base_without_a_table() -> None:
    class Named(Base):
        name: str

    class Tool(Named, table=True):
        id: int | None = Field(default=None, primary_key=True)

    assert kinds(Tool) == {"name": ColumnKind.TEXT, "id": ColumnKind.INTEGER}


def refused(model: Any) -> str:
    with pytest.raises(UnsupportedModel) as caught:
        ModelAccessor(model, "tools")
    return str(caught.value)


def test_a_composite_key_is_refused() -> None:
    class Slot(Base, table=True):
        row: int = Field(primary_key=True)
        place: int = Field(primary_key=True)

    assert "Slot has a primary key of 2 columns; give it one key column" in refused(Slot)


@pytest.mark.parametrize("type_", [float, bytes, datetime, bool, Decimal, Mode])
def test_a_key_of_another_kind_is_refused(type_: type) -> None:
    class Slot(Base, table=True):
        id: type_ = Field(primary_key=True)  # type: ignore[valid-type]

    assert "Slot.id cannot be a primary key; use int, str or UUID" in refused(Slot)


@pytest.mark.parametrize("type_", [int, str, UUID])
def test_a_key_of_these_kinds_is_kept(type_: type) -> None:
    class Slot(Base, table=True):
        id: type_ = Field(primary_key=True)  # type: ignore[valid-type]

    assert ModelAccessor(Slot, "slots").codec.key.annotation is type_


@pytest.mark.parametrize(
    ("annotation", "column_type"),
    [
        (complex, sa.String),
        (str, sa.Integer),
        (int, sa.String),
        (Mode, sa.String),
        (str, sa.Enum(Mode)),
        (dict[str, int], sa.LargeBinary),
        (bytes, sa.String),
        (list[str], sa.ARRAY(sa.String)),
    ],
    ids=str,
)
def test_a_column_that_cannot_be_kept_is_refused(annotation: Any, column_type: Any) -> None:
    class Slot(Base, table=True):
        model_config = ConfigDict(arbitrary_types_allowed=True)  # type: ignore[assignment]

        id: int | None = Field(default=None, primary_key=True)
        odd: annotation = Field(sa_type=column_type)

    assert refused(Slot).startswith("Slot.odd is ")


def test_a_naive_datetime_is_refused() -> None:
    class Slot(Base, table=True):
        id: int | None = Field(default=None, primary_key=True)
        at: NaiveDatetime = Field(sa_type=sa.DateTime)

    assert "aware UTC" in refused(Slot)


@pytest.mark.parametrize("type_", [str, bool, str | None, datetime])
def test_a_deleted_at_that_is_no_optional_datetime_is_refused(type_: Any) -> None:
    class Slot(Base, table=True):
        id: int | None = Field(default=None, primary_key=True)
        deleted_at: type_

    assert "Slot.deleted_at is not an optional datetime" in refused(Slot)


def test_a_class_without_a_table_is_refused() -> None:
    class Named(Base):
        name: str

    for thing in (Named, dict, "Named"):
        assert "has no table" in refused(thing)


def test_a_model_that_shares_its_table_is_refused() -> None:
    class Machine(Base, table=True):
        id: int | None = Field(default=None, primary_key=True)
        kind: str = "machine"

    class Robot(Machine, table=True):
        shared: str = ""

    assert "table" in refused(Robot)


@pytest.mark.parametrize("name", ["", "  "])
def test_a_component_without_a_name_is_refused(name: str) -> None:
    class Tool(Base, table=True):
        id: int | None = Field(default=None, primary_key=True)

    with pytest.raises(ConfigurationError, match="component name"):
        ModelAccessor(Tool, name)
