"""What goes into a column comes out equal, from a fresh read and from the audit trail, or is refused."""

from __future__ import annotations

import base64
import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from sqlalchemy import Engine

from storage.accessor import ModelAccessor
from storage.columns import ColumnKind, RecordColumn
from storage.errors import RecordInvalid
from tests.integration.storage.conftest import Audit
from tests.integration.storage.models import Color, Everything, Fixture, Point

OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
INTEGERS = st.integers() | st.sampled_from(
    [sign * (2**bits + step) for bits in (15, 31, 53, 63) for sign in (1, -1) for step in (-1, 0, 1)]
)
FLOATS = st.floats() | st.integers(-(2**54), 2**54)
TEXT = st.text() | st.text(st.characters(categories=["Cs", "Cc", "Lu"]))
DECIMALS = (
    st.decimals()
    | st.decimals(-(10**9), 10**9, places=3)
    | st.decimals(min_value=-(10**30), max_value=10**30, places=12)
)
MOMENTS = st.datetimes(timezones=st.none() | OFFSETS | st.timezones())
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
POINTS = st.builds(Point, x=st.floats(), y=st.floats(), seen=st.none() | MOMENTS)
FIXTURES = st.builds(
    Fixture, first_corner=POINTS, more_corners=st.lists(POINTS, max_size=2), color=st.sampled_from(Color)
)

WILD: dict[str, st.SearchStrategy[Any]] = {
    "small": INTEGERS,
    "integer": INTEGERS,
    "big": INTEGERS,
    "number": FLOATS,
    "flag": st.booleans(),
    "text": TEXT,
    "data": st.binary(),
    "plain_decimal": DECIMALS,
    "money": DECIMALS,
    "exact": DECIMALS,
    "moment": MOMENTS,
    "day": st.dates(),
    "clock": st.times(timezones=st.none() | OFFSETS),
    "span": st.timedeltas(),
    "uuid": st.uuids(),
    "color": st.sampled_from(Color),
    "mapping": st.dictionaries(TEXT, JSON, max_size=3),
    "items": st.lists(JSON, max_size=3),
    "anything": JSON,
    "fixture": FIXTURES,
    "points": st.lists(POINTS, max_size=2),
}
"""For each column, values of its type, whether it can keep them or not."""


@pytest.fixture
def everything(engine: Engine) -> ModelAccessor[Everything]:
    return ModelAccessor(Everything, "everything")


def column_of(accessor: ModelAccessor[Everything], name: str) -> RecordColumn:
    return next(column for column in accessor.codec.columns if column.name == name)


def same(left: Any, right: Any, column: RecordColumn) -> bool:
    if isinstance(left, datetime) and isinstance(right, datetime):  # of two zones, which are never equal in a fold
        return left.utcoffset() == timedelta(0) and left.astimezone(UTC) == right.astimezone(UTC)
    if column.kind is ColumnKind.JSON and isinstance(left, int | float):
        return bool(left == right) and type(left) is type(right)
    if column.kind is not ColumnKind.JSON or not isinstance(left, dict | list):
        return bool(left == right) and isinstance(left, type(right)) | isinstance(right, int)
    adapter = TypeAdapter(column.annotation)  # 1, 1.0 and True are equal, but not the same JSON
    return json.dumps(adapter.dump_python(left, mode="json")) == json.dumps(adapter.dump_python(right, mode="json"))


def from_snapshot(column: RecordColumn, value: Any) -> Any:
    """What a reader of the audit trail, who has only JSON, makes of a value."""
    value = json.loads(json.dumps(value))
    if value is None:
        return None
    if column.kind is ColumnKind.BYTES:
        return base64.b64decode(value)
    if column.kind is ColumnKind.ENUM:
        return Color[value]
    return TypeAdapter(column.annotation).validate_python(value)


def check(everything: ModelAccessor[Everything], audit: Audit, name: str, value: Any) -> bool:
    """Insert a value and compare what can be read; False where it is refused, which must leave nothing behind."""
    column, before = column_of(everything, name), len(everything.all())
    try:
        inserted = everything.insert(Everything(**{name: value}))
    except RecordInvalid as error:
        inserted, refused = None, {problem.field.partition(".")[0].partition("[")[0] for problem in error.problems}
    else:
        refused = set()
    if inserted is None:
        assert refused == {name}
        assert len(everything.all()) == before
        return False
    read = everything.get(inserted.id)
    assert read is not None
    assert same(getattr(read, name), value, column), (getattr(read, name), value)
    assert same(getattr(inserted, name), value, column)
    after = audit()[-1].after
    assert after is not None
    assert same(from_snapshot(column, after[name]), value, column), (after[name], value)
    everything.delete(inserted.id)
    return True


@pytest.mark.parametrize("name", WILD)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_value_comes_back_equal_or_is_refused(
    everything: ModelAccessor[Everything], audit: Audit, name: str, data: st.DataObject
) -> None:
    check(everything, audit, name, data.draw(WILD[name]))


KEPT: list[tuple[str, Any]] = [
    ("small", 2**15 - 1),
    ("small", -(2**15)),
    ("integer", 2**31 - 1),
    ("integer", -(2**31)),
    ("big", 2**53 + 1),
    ("big", 2**63 - 1),
    ("big", -(2**63)),
    ("number", 5e-324),
    ("number", 1.7976931348623157e308),
    ("number", 0.1),
    ("text", ""),
    ("text", "Zoë 測試 \U0001f916 \u202e\n\t"),
    ("text", "x" * 100_000),
    ("data", b""),
    ("data", b"\x00\xff\xfe"),
    ("plain_decimal", Decimal("12345.1234567891")),
    ("money", Decimal("123456789.123")),
    ("money", Decimal("0E+20")),
    ("exact", Decimal("123456789012345.123456789012345")),
    ("exact", Decimal("1E-30")),
    ("moment", datetime(1, 1, 1, tzinfo=UTC)),
    ("moment", datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ("moment", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=-5)))),
    ("moment", datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=5)))),
    ("day", date(1, 1, 1)),
    ("day", date(9999, 12, 31)),
    ("clock", time(23, 59, 59, 999999)),
    ("span", timedelta(microseconds=-1)),
    ("span", timedelta(days=2_932_896)),
    ("uuid", UUID(int=0)),
    ("color", Color.LIME),
    ("mapping", {}),
    ("mapping", {"": None, "axis_1": [1, 1.0, True, {"a": None}]}),
    ("mapping", {"id": 2**53 - 1}),
    ("mapping", {"id": -(2**53) + 1}),
    ("items", [[]]),
    ("anything", "text"),
    ("anything", False),
    ("anything", 0),
    ("anything", 1.0),
    ("anything", -0.0),
    ("anything", 1e16),
    ("anything", 1e300),
    ("anything", 2**53 - 1),
    ("anything", "1"),
    ("anything", " 1.0"),
    ("anything", "Infinity"),
    ("points", []),
    ("fixture", Fixture(first_corner=Point(x=1, seen=datetime(9999, 12, 31, tzinfo=UTC)), color=Color.LIME)),
]


@pytest.mark.parametrize(("name", "value"), KEPT, ids=lambda value: str(value)[:40])
def test_an_edge_is_kept(everything: ModelAccessor[Everything], audit: Audit, name: str, value: Any) -> None:
    assert check(everything, audit, name, value)


REFUSED: list[tuple[str, Any]] = [
    ("small", 2**15),
    ("integer", 2**31),
    ("integer", -(2**31) - 1),
    ("integer", "three"),
    ("integer", 1.5),
    ("big", 2**63),
    ("big", -(2**63) - 1),
    ("number", math.nan),
    ("number", math.inf),
    ("number", -math.inf),
    ("number", 2**53 + 1),
    ("number", 10**400),
    ("text", "a\x00b"),
    ("text", "\ud800"),
    ("text", 5),
    ("plain_decimal", Decimal("0.12345678901")),
    ("money", Decimal("0.0001")),
    ("money", Decimal(10) ** 9),
    ("money", Decimal("NaN")),
    ("exact", Decimal("Infinity")),
    ("exact", Decimal("sNaN")),
    ("moment", datetime(2026, 1, 1)),  # noqa: DTZ001 - naive on purpose
    ("moment", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))),
    ("moment", datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5)))),
    ("clock", time(12, tzinfo=UTC)),
    ("span", timedelta.max),
    ("span", timedelta.min),
    ("color", "purple"),
    ("mapping", {"id": 2**53}),
    ("mapping", {"id": -(2**53)}),
    ("mapping", {"x": math.nan}),
    ("mapping", {"x": "\x00"}),
    ("mapping", {"\ud800": 1}),
    ("mapping", {"x": b"bytes"}),
    ("mapping", {"x": {1: "a number for a key"}}),
    ("mapping", {"x": (1, 2)}),
    ("mapping", []),
    ("items", [datetime(2026, 1, 1, tzinfo=UTC)]),
    ("anything", math.inf),
    ("anything", {1, 2}),
    ("points", [Point(x=math.nan)]),
    ("fixture", {"first_corner": {}}),
]


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=lambda value: ascii(value)[:40])
def test_an_edge_is_refused(everything: ModelAccessor[Everything], audit: Audit, name: str, value: Any) -> None:
    assert not check(everything, audit, name, value)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("value", [Decimal("1234567890123456.5"), Decimal("123456789012345678.123456789012")])
def test_sqlite_refuses_a_decimal_of_more_than_15_digits(
    everything: ModelAccessor[Everything], audit: Audit, value: Decimal
) -> None:
    assert not check(everything, audit, "plain_decimal", value)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_json_may_be_nested_and_read_again(everything: ModelAccessor[Everything], audit: Audit) -> None:
    assert check(everything, audit, "items", nested(30))


@pytest.mark.parametrize("depth", [31, 101, 254, 300, 2000])
def test_json_that_could_not_be_read_again_is_refused(
    everything: ModelAccessor[Everything], audit: Audit, depth: int
) -> None:
    assert not check(everything, audit, "items", nested(depth))


def test_json_that_contains_itself_is_refused(everything: ModelAccessor[Everything], audit: Audit) -> None:
    loop: list[Any] = []
    loop.append(loop)

    assert not check(everything, audit, "anything", loop)


@pytest.mark.parametrize("name", ["mapping", "items", "anything", "fixture", "points"])
def test_none_in_a_json_column_is_sql_null(everything: ModelAccessor[Everything], rows: Any, name: str) -> None:
    everything.insert(Everything(**{name: None}))

    assert rows(f"SELECT {name} IS NULL FROM everything") in ([(1,)], [(True,)])  # noqa: S608 - a name of ours


def test_a_problem_inside_json_says_where(everything: ModelAccessor[Everything]) -> None:
    with pytest.raises(RecordInvalid) as caught:
        everything.insert(Everything(mapping={"axes": [{"x": 1}, {"x": math.nan}]}))

    assert [problem.field for problem in caught.value.problems] == ["mapping.axes[1].x"]


def test_every_problem_is_told_at_once(everything: ModelAccessor[Everything]) -> None:
    with pytest.raises(RecordInvalid) as caught:
        everything.insert(Everything(integer=2**40, number=math.nan, clock=time(12, tzinfo=UTC)))

    assert {problem.field for problem in caught.value.problems} == {"integer", "number", "clock"}


def test_a_refused_change_leaves_the_row_as_it_was(everything: ModelAccessor[Everything]) -> None:
    record = everything.insert(Everything(integer=1))
    record.integer = 2**31

    with pytest.raises(RecordInvalid):
        everything.save(record)

    stored = everything.get(record.id)
    assert stored is not None
    assert stored.integer == 1
