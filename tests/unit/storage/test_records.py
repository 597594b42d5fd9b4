"""The codec between instances, rows and snapshots."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import field_validator, model_validator
from sqlalchemy.orm import registry, validates
from sqlmodel import Field, SQLModel

from storage.errors import RecordInvalid
from storage.records import RecordCodec


class Base(SQLModel, registry=registry()):
    """Root of the models here."""


class Tool(Base, table=True):
    """With validators, as users write them."""

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(sa_column_kwargs={"name": "tool name"})
    low: int = 0
    high: int = 10
    settings: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON)
    deleted_at: datetime | None = None

    @field_validator("name")
    @classmethod
    def strip(cls, name: str) -> str:
        """Take off the spaces around it."""
        if name.strip() == "nobody":
            raise ValueError("names nobody")
        return name.strip()

    @model_validator(mode="after")
    def ordered(self) -> Tool:
        """Refuse a range that is none."""
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


@pytest.fixture
def codec() -> RecordCodec[Tool]:
    return RecordCodec(Tool)


def stored(codec: RecordCodec[Tool], **changes: Any) -> tuple[Tool, dict[str, Any]]:
    """A record as it was read, and its row."""
    row = codec.validate(Tool(id=1, name="drill", **changes))
    return codec.build(codec.copy(row)), row


def changes(codec: RecordCodec[Tool], tool: Tool, row: dict[str, Any]) -> dict[str, Any]:
    return codec.changes(tool, codec.validate(tool), row)


def test_validation_gives_every_attribute_as_it_is_to_be_kept(codec: RecordCodec[Tool]) -> None:
    at = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))

    given: dict[str, Any] = {"name": " drill ", "low": "3", "deleted_at": at}

    values = codec.validate(Tool(**given))

    assert values == {"id": None, "name": "drill", "low": 3, "high": 10, "settings": None, "deleted_at": at}
    assert values["deleted_at"].tzinfo is UTC


def test_validators_of_the_model_are_heard(codec: RecordCodec[Tool]) -> None:
    with pytest.raises(RecordInvalid, match="name names nobody"):
        codec.validate(Tool(name="nobody"))
    with pytest.raises(RecordInvalid, match="low is above high"):
        codec.validate(Tool(name="drill", low=11))


def test_validation_leaves_the_instance_alone(codec: RecordCodec[Tool]) -> None:
    given: dict[str, Any] = {"name": " drill ", "low": "3"}
    tool = Tool(**given)
    codec.validate(tool)

    assert tool.model_dump(include=set(given), warnings=False) == given


def test_parameters_are_called_like_the_columns(codec: RecordCodec[Tool]) -> None:
    assert codec.parameters({"name": "drill", "low": 1}) == {"tool name": "drill", "low": 1}


def test_a_built_instance_is_what_the_model_would_have_made(codec: RecordCodec[Tool]) -> None:
    built, _ = stored(codec, settings={"axis": 1})
    made = Tool(id=1, name="drill", settings={"axis": 1})

    assert built == made
    assert built.model_dump() == made.model_dump()
    assert json.loads(built.model_dump_json()) == json.loads(made.model_dump_json())
    assert built.model_fields_set == set(Tool.model_fields)
    assert sa.inspect(built).detached
    assert sa.inspect(built).identity == (1,)
    assert not sa.inspect(built).modified


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda tool: None, {}),
        (lambda tool: setattr(tool, "name", "drill"), {}),
        (lambda tool: setattr(tool, "name", " drill "), {}),
        (lambda tool: setattr(tool, "name", "saw"), {"name": "saw"}),
        (lambda tool: setattr(tool, "low", True), {"low": 1}),
        (lambda tool: tool.settings.update(axis=2), {"settings": {"axis": 2}}),
        (lambda tool: tool.settings.update(axis=1.0), {"settings": {"axis": 1.0}}),
        (lambda tool: setattr(tool, "settings", {"axis": 1}), {}),
        (lambda tool: setattr(tool, "settings", None), {"settings": None}),
    ],
)
def test_changes_are_what_the_holder_changed(codec: RecordCodec[Tool], change: Any, expected: Any) -> None:
    tool, row = stored(codec, settings={"axis": 1})
    change(tool)

    assert changes(codec, tool, row) == expected


def test_what_others_changed_is_no_change_of_the_holder(codec: RecordCodec[Tool]) -> None:
    tool, row = stored(codec, settings={"axis": 1})
    tool.low = 5

    assert changes(codec, tool, {**row, "name": "saw", "settings": {"axis": 2}}) == {"low": 5}
    assert changes(codec, tool, {**row, "low": 5}) == {}


def test_all_of_a_new_instance_counts(codec: RecordCodec[Tool]) -> None:
    _, row = stored(codec, low=3)

    assert changes(codec, Tool(id=1, name="saw"), row) == {"name": "saw", "low": 0}


def test_a_stamped_instance_counts_as_stored_with_nothing_changed(codec: RecordCodec[Tool]) -> None:
    tool = Tool(name=" drill ", settings={"axis": 1})
    values = {**codec.validate(tool), "id": 7}
    codec.stamp(tool, values)

    assert (tool.id, tool.name) == (7, "drill")
    assert sa.inspect(tool).identity == (7,)
    assert changes(codec, tool, values) == {}


def test_a_reverted_instance_is_as_it_was(codec: RecordCodec[Tool]) -> None:
    new = Tool(name="drill")
    memento = codec.capture(new)
    codec.stamp(new, {**codec.validate(new), "id": 7})
    codec.revert(new, memento)

    assert new.id is None
    assert sa.inspect(new).transient


def test_a_reverted_change_is_a_change_again(codec: RecordCodec[Tool]) -> None:
    tool, row = stored(codec, settings={"axis": 1})
    tool.low = 5
    tool.settings["axis"] = 2  # type: ignore[index]
    memento = codec.capture(tool)
    codec.stamp(tool, codec.validate(tool))
    assert changes(codec, tool, row) == {}
    codec.revert(tool, memento)

    assert changes(codec, tool, row) == {"low": 5, "settings": {"axis": 2}}


class Initialized(Base, table=True):
    """Has an `__init__` of its own."""

    id: int | None = Field(default=None, primary_key=True)

    def __init__(self, **data: Any) -> None:
        super().__init__(**data)


class Assigned(Base, table=True):
    """Does something whenever a value is set."""

    id: int | None = Field(default=None, primary_key=True)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)


class Checked(Base, table=True):
    """Has a validator of SQLAlchemy's."""

    id: int | None = Field(default=None, primary_key=True)
    name: str

    @validates("name")
    def look(self, _key: str, name: str) -> str:
        """Take it."""
        return name


class Finished(Base, table=True):
    """Does something once it is made."""

    id: int | None = Field(default=None, primary_key=True)

    def model_post_init(self, context: Any, /) -> None:
        """Do it."""


class Heard(Base, table=True):
    """Has somebody who listens."""

    id: int | None = Field(default=None, primary_key=True)


sa.event.listen(Heard, "init", lambda _target, _args, _kwargs: None)


@pytest.mark.parametrize("model", [Initialized, Assigned, Checked, Finished, Heard])
def test_making_an_instance_may_do_more_than_to_take_values(model: type[Base]) -> None:
    assert RecordCodec(model).constructs
    assert not RecordCodec(Tool).constructs


def test_what_fields_are_set_is_told_for_each_record(codec: RecordCodec[Tool]) -> None:
    one, other = (stored(codec)[0] for _ in range(2))
    one.model_fields_set.clear()
    assert other.model_dump(exclude_unset=True)["name"] == "drill"


def test_a_snapshot_has_every_attribute_by_its_name(codec: RecordCodec[Tool]) -> None:
    _, row = stored(codec)

    assert codec.snapshot(row) == {**row}


@pytest.mark.parametrize(("key", "expected"), [(5, 5), ("5", 5), (2**31 - 1, 2**31 - 1)])
def test_keys_are_validated(codec: RecordCodec[Tool], key: Any, expected: int) -> None:
    assert codec.validate_key(key) == expected


@pytest.mark.parametrize("key", [None, "", "five", 5.0, 5.5, True, 2**31, [], b"5x"])
def test_what_is_no_key_is_refused(codec: RecordCodec[Tool], key: Any) -> None:
    with pytest.raises(RecordInvalid):
        codec.validate_key(key)
