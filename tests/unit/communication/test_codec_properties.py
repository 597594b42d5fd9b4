"""Values through either wire and back: equal, or refused."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from communication.codec import JsonCodec, ProtoCodec, ServerCodec
from communication.contract.contract import Outgoing
from tests.unit.communication.contract.everything import Everything, JobState, Node, everything

CONTRACT = everything()
REQUEST = CONTRACT.messages["SaveRequest"]
CODECS = [pytest.param(codec, id=codec.name()) for codec in (JsonCodec(CONTRACT), ProtoCodec(CONTRACT))]

FLOATS = st.floats(allow_nan=False)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters())  # lone surrogates and NUL included
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
NODES = st.recursive(
    st.builds(Node, name=TEXTS),
    lambda inner: st.builds(Node, name=TEXTS, children=st.lists(inner, max_size=2)),
    max_leaves=4,
)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "flag": st.booleans(),
    "small": st.integers(),
    "big": st.integers(),
    "ratio": FLOATS,
    "text": TEXTS,
    "data": st.binary(),
    "moment": st.datetimes(timezones=st.just(UTC)),
    "span": st.timedeltas(),
    "state": st.sampled_from(JobState),
    "node": NODES,
    "free": JSON,
    "price": st.decimals(),
    "key": st.uuids(),
    "day": st.dates(),
    "clock": st.times(),
}
PLAIN = {
    "flag": True,
    "small": 1,
    "big": 1,
    "ratio": 1.5,
    "text": "a",
    "data": b"a",
    "moment": datetime(2024, 2, 29, tzinfo=UTC),
    "span": timedelta(seconds=1),
    "state": JobState.idle,
    "node": Node(name="a"),
    "free": 1,
    "price": Decimal("1.50"),
    "key": UUID(int=1),
    "day": date(2024, 2, 29),
    "clock": time(13, 37),
}


def plain_text() -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=["Cs"]))


def plain_json() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | FINITE | plain_text()
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_text(), inner, max_size=3),
        max_leaves=5,
    )


FITTING: dict[str, st.SearchStrategy[Any]] = {
    **KINDS,
    "small": st.integers(-(2**31), 2**31 - 1),
    "big": st.integers(-(2**63), 2**63 - 1),
    "text": plain_text(),
    "span": st.timedeltas(timedelta(seconds=-315_576_000_000), timedelta(seconds=315_576_000_000)),
    "node": st.builds(Node, name=plain_text(), children=st.lists(st.builds(Node, name=plain_text()), max_size=2)),
    "free": plain_json(),
    "price": st.decimals(allow_nan=False, allow_infinity=False),
}
"""Values of each kind that their wire types can hold."""


def records() -> st.SearchStrategy[dict[str, Any]]:
    """Whole records of fitting values: each kind alone, or None, or in a list; all but the first may be left out."""
    objects = st.dictionaries(plain_text(), FITTING["free"], max_size=3)
    lists = {f"{kind}s": st.lists(values, max_size=3) for kind, values in FITTING.items()}
    maybe = {f"maybe_{kind}": st.none() | values for kind, values in FITTING.items()}
    special = {"maybe_free": st.none() | objects, "frees": st.lists(objects, max_size=2)}
    return st.fixed_dictionaries(FITTING, optional={**lists, **maybe, **special})


def through(codec: ServerCodec, values: dict[str, Any]) -> Everything:
    record: Everything = codec.decode(codec.encode(Outgoing(type=REQUEST, value=values)), REQUEST)
    return record


@pytest.mark.parametrize("codec", CODECS)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(values=records())
def test_a_record_that_fits_comes_back_equal(codec: ServerCodec, values: dict[str, Any]) -> None:
    record = through(codec, values)
    absent = {name: field.get_default(call_default_factory=True) for name, field in Everything.model_fields.items()}
    assert {name: getattr(record, name) for name in Everything.model_fields} == {**absent, **values}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_each_kind_comes_back_equal_or_is_refused(codec: ServerCodec, kind: str, data: st.DataObject) -> None:
    value = data.draw(KINDS[kind])
    try:
        record = through(codec, {**PLAIN, kind: value})
    except ConnectError:
        return
    assert getattr(record, kind) == value


EDGES: list[tuple[str, Any, bool]] = [
    ("small", 2**31 - 1, True),
    ("small", -(2**31), True),
    ("small", 2**31, False),
    ("small", -(2**31) - 1, False),
    ("big", 2**53 - 1, True),
    ("big", 2**53 + 1, True),
    ("big", 2**63 - 1, True),
    ("big", -(2**63), True),
    ("big", 2**63, False),
    ("ratio", math.inf, True),
    ("ratio", -math.inf, True),
    ("ratio", 5e-324, True),
    ("ratio", 2**53 + 1, False),
    ("ratio", 10**400, False),
    ("free", 2**53 - 1, True),
    ("free", 2**53, False),
    ("free", {"deep": [2**53 + 1]}, False),
    ("free", math.nan, False),
    ("free", math.inf, False),
    ("free", None, True),
    ("free", [None, {"a": None}], True),
    ("text", "", True),
    ("text", "a\0b", True),
    ("text", "\ud800", False),
    ("data", b"", True),
    ("data", bytes(range(256)), True),
    ("moment", datetime(1, 1, 1, tzinfo=UTC), True),
    ("moment", datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), True),
    ("moment", datetime(2024, 1, 1), False),  # noqa: DTZ001 - the naive one is the point
    ("span", timedelta.max, False),
    ("span", timedelta(microseconds=-1), True),
    ("price", Decimal("123456789.123456"), True),
    ("price", Decimal("123456789012345678.123456789012"), True),
    ("price", Decimal("NaN"), False),
    ("clock", time(13, 37, tzinfo=UTC), False),
]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("kind", "value", "kept"), EDGES)
def test_the_edges_by_name(codec: ServerCodec, kind: str, value: Any, *, kept: bool) -> None:
    if kept:
        assert getattr(through(codec, {**PLAIN, kind: value}), kind) == value
    else:
        with pytest.raises(ConnectError, match="internal error"):
            through(codec, {**PLAIN, kind: value})


@pytest.mark.parametrize("codec", CODECS)
def test_nan_comes_back_as_nan(codec: ServerCodec) -> None:
    assert math.isnan(through(codec, {**PLAIN, "ratio": math.nan}).ratio)


@pytest.mark.parametrize("codec", CODECS)
def test_digits_of_a_decimal_are_kept_where_they_add_nothing(codec: ServerCodec) -> None:
    assert str(through(codec, {**PLAIN, "price": Decimal("1.500")}).price) == "1.500"


@pytest.mark.parametrize("codec", CODECS)
@given(body=st.binary())
def test_bytes_that_are_no_record_are_refused(codec: ServerCodec, body: bytes) -> None:
    """No random bytes hold all that a record requires."""
    with pytest.raises(ConnectError) as caught:
        codec.decode(body, REQUEST)
    assert caught.value.code is Code.INVALID_ARGUMENT
