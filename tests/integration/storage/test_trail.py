"""The audit trail as it is read: filters, order, what changed, and an index for every filter."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlmodel import SQLModel

from storage import trail
from storage.accessor import ModelAccessor
from storage.auditor import AuditLog, Operation
from storage.database import transaction
from storage.errors import RecordInvalid
from storage.schema.upgrade import upgrade
from storage.trail import AuditEntry, read_trail
from tests.integration.storage.conftest import AUDIT_TABLE
from tests.integration.storage.models import Bin, Everything, Part, Recipe

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def entries(engine: Engine) -> None:
    """Six entries, a minute apart: ids 1 to 6."""
    rows: list[dict[str, Any]] = [
        {"component": "bins", "record_id": 1, "record_key": "1", "operation": "create", "actor": "ana"},
        {"component": "bins", "record_id": 2, "record_key": "2", "operation": "create", "actor": "ben"},
        {"component": "bins", "record_id": 1, "record_key": "1", "operation": "update", "actor": "ben"},
        {"component": "parts", "record_id": None, "record_key": "1", "operation": "create", "actor": "ana"},
        {"component": "jobs", "record_id": 1, "record_key": "1", "operation": "delete", "actor": "ana"},
        {"component": "bins", "record_id": 2, "record_key": "2", "operation": "soft_delete", "actor": "cem"},
    ]
    with transaction() as session:
        session.add_all(AuditLog(timestamp=NOON + timedelta(minutes=index), **row) for index, row in enumerate(rows))


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"component": "bins"}, [6, 3, 2, 1]),
        ({"component": "bin"}, []),
        ({"record_id": 1}, [5, 3, 1]),
        ({"record_key": "1"}, [5, 4, 3, 1]),
        ({"record_id": 2**70}, []),
        ({"record_key": "1\0"}, []),
        ({"actor": "ben"}, [3, 2]),
        ({"operation": "create"}, [4, 2, 1]),
        ({"since": NOON + timedelta(minutes=4)}, [6, 5]),
        ({"until": NOON + timedelta(minutes=1)}, [1]),
        ({"since": NOON, "until": NOON}, []),
        ({"since": NOON.astimezone(timezone(timedelta(hours=5))), "until": NOON + timedelta(minutes=2)}, [2, 1]),
        ({"component": "bins", "record_id": 1}, [3, 1]),
        ({"component": "bins", "actor": "ben", "operation": "update"}, [3]),
        ({"limit": 2}, [6, 5]),
        ({"limit": 2, "offset": 3}, [3, 2]),
        ({"component": "bins", "limit": 1, "offset": 3}, [1]),
        ({"offset": 6}, []),
    ],
)
def test_entries_pass_every_filter_the_newest_first(filters: dict[str, Any], ids: list[int]) -> None:
    assert [entry.id for entry in read_trail(**filters)] == ids


def test_entries_of_one_moment_are_in_the_order_of_their_ids(bins: ModelAccessor[Bin]) -> None:
    bins.insert_many([Bin(code=str(number)) for number in range(5)])
    assert [entry.id for entry in read_trail()] == [5, 4, 3, 2, 1]


def test_a_hundred_entries_unless_told_otherwise(bins: ModelAccessor[Bin]) -> None:
    bins.insert_many([Bin(code=str(number)) for number in range(1001)])
    assert len(read_trail()) == 100
    assert len(read_trail(limit=1000)) == 1000


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"offset": -1}, "offset"),
        ({"offset": 2**63}, "offset"),
        ({"operation": "insert"}, "operation"),
        ({"since": NOON.replace(tzinfo=None)}, "since"),
        ({"until": NOON.replace(tzinfo=None)}, "until"),
    ],
)
def test_what_cannot_be_asked(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(RecordInvalid) as caught:
        read_trail(**arguments)
    assert [problem.field for problem in caught.value.problems] == [field]
    assert str(caught.value).startswith(f"the request is invalid: {field} must ")


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize("operation", Operation)
def test_every_operation_can_be_asked_for(operation: Operation) -> None:
    assert {entry.operation for entry in read_trail(operation=operation)} <= {operation.value}


def test_what_changed(recipes: ModelAccessor[Recipe]) -> None:
    recipe = recipes.insert(Recipe(name="a", settings={"on": 1}))
    recipe.speed = 2.0
    recipe.settings = {"on": True}
    recipes.save(recipe)
    recipes.delete(recipe.id)

    deleted, updated, created = read_trail(component="recipes")
    assert created.changed == ("id", "name", "speed", "settings", "deleted_at")
    assert updated.changed == ("speed", "settings")
    assert deleted.changed == ("deleted_at",)
    assert (created.before, updated.before) == (None, created.after)


def test_the_order_of_the_keys_of_an_object_is_no_change() -> None:
    same: dict[str, Any] = {"id": 1, "timestamp": NOON, "component": "a", "record_id": 1, "record_key": "1"}
    entry = AuditEntry(
        **same, operation="update", actor="x", before={"s": {"a": 1, "b": 2}}, after={"s": {"b": 2, "a": 1}}
    )
    assert entry.changed == ()


def test_an_entry_of_a_key_that_is_text(engine: Engine) -> None:
    parts = ModelAccessor(Part, "parts")
    parts.insert(Part(number="7"), actor="ana")
    (entry,) = read_trail(record_key="7")
    assert (entry.record_id, entry.record_key, entry.actor) == (None, "7", "ana")
    assert entry.timestamp.utcoffset() == timedelta(0)
    assert read_trail(record_id=7) == []


def test_large_integers_come_back_exactly(engine: Engine) -> None:
    ModelAccessor(Everything, "everything").insert(Everything(big=2**63 - 1))
    (entry,) = read_trail()
    assert entry.after is not None
    assert entry.after["big"] == 2**63 - 1


def test_a_transaction_sees_its_own_entries(bins: ModelAccessor[Bin]) -> None:
    with transaction():
        bins.insert(Bin(code="A1"))
        assert [entry.operation for entry in read_trail()] == ["create"]


FILTERS: dict[str, Any] = {
    "component": "bins",
    "record_id": "1",
    "record_key": "1",
    "actor": "ana",
    "operation": "create",
    "since": NOON,
    "until": NOON,
}
PLANS = [names for count in range(4) for names in itertools.combinations(FILTERS, count)]


@pytest.fixture
def plan_of(engine: Engine) -> Callable[[tuple[str, ...]], str]:
    """The plan of the query for a choice of filters; PostgreSQL is told to do without scans and sorts if it can."""

    def plan(names: tuple[str, ...]) -> str:
        statement = trail._statement(frozenset(names))
        explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
                connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
                connection.exec_driver_sql("SET LOCAL enable_sort = off")
            compiled = statement._for(engine)
            compiled.text = compiled.text if compiled.text.startswith("EXPLAIN") else explain + compiled.text
            compiled.loads = ()
            given = {name: FILTERS[name] for name in names}
            rows = statement.rows(connection, {**given, trail._LIMIT: 10, trail._OFFSET: 0})
        trail._statement.cache_clear()
        return " / ".join(str(row[-1]) for row in rows)

    return plan


@pytest.mark.parametrize("names", PLANS, ids="+".join)
def test_every_choice_of_filters_is_served_by_an_index(names: tuple[str, ...], plan_of: Any, engine: Engine) -> None:
    """So that a million entries are neither searched nor sorted: an index gives those asked for, newest first."""
    plan = plan_of(names)
    assert "ix_auditlog_" in plan
    if engine.dialect.name == "sqlite":
        assert "TEMP B-TREE" not in plan
        assert plan.startswith("SEARCH" if names else "SCAN auditlog USING INDEX ix_auditlog_timestamp")
        columns = {"since": "timestamp>?", "until": "timestamp<?"}
        used = [columns.get(name, f"{name.replace('record_id', 'record_key')}=?") for name in names]
        assert any(column in plan for column in used) or not names
    else:
        assert "Seq Scan" not in plan
        assert "Incremental Sort" in plan  # of the entries of one moment only
        assert not names or "Index Cond" in plan


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_alone_searches_an_index_of_its_own(name: str, plan_of: Any, engine: Engine) -> None:
    column = {"since": "timestamp", "until": "timestamp", "record_id": "record_key"}.get(name, name)
    assert any(index.columns[0].name == column and str(index.name) in plan_of((name,)) for index in AUDIT_TABLE.indexes)
    assert isinstance(AUDIT_TABLE, sa.Table)


def test_a_database_of_other_indexes_gets_todays(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX ix_auditlog_actor_timestamp")
        connection.exec_driver_sql("CREATE INDEX ix_auditlog_actor ON auditlog (actor)")
    upgrade(engine, SQLModel.metadata)
    found = {str(index["name"]): index["column_names"] for index in sa.inspect(engine).get_indexes("auditlog")}
    assert found == {str(index.name): [column.name for column in index.columns] for index in AUDIT_TABLE.indexes}
