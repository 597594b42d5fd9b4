"""A machine moves by an archive: from SQLite to PostgreSQL, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from storage import database
from storage.database import get_engine, set_database_url
from storage.transfer.archive_import import import_archive
from tests.integration.storage.archives import Accessors, Node, Robot, Tool, all_accessors, exported, files_of
from tests.integration.storage.conftest import make_tables
from tests.integration.storage.models import (
    Bin,
    Color,
    Everything,
    Fixture,
    Job,
    Part,
    Point,
    Recipe,
    Sample,
    Shelf,
    Ticket,
)
from tests.postgresql import empty

FULL: dict[str, Any] = {
    "small": -(2**15),
    "integer": 2**31 - 1,
    "big": -(2**63),
    "number": 0.1 + 0.2,
    "flag": False,
    "text": '=1+1,"\r\n\N{PILE OF POO}\N{DIGIT SIX}',
    "data": bytes(range(256)),
    "plain_decimal": Decimal("0.5"),
    "money": Decimal("-123456789.125"),
    "exact": Decimal("123456789012345678901234567890.10"),
    "moment": datetime(2026, 2, 28, 23, 59, 59, 999999, UTC),
    "day": date(1, 1, 1),
    "clock": time(23, 59, 59, 1),
    "span": timedelta(days=-3, microseconds=7),
    "uuid": UUID(int=2**128 - 1),
    "color": Color.LIME,
    "mapping": {"": None, "=": [1, 1.5, True, {"deep": "é"}]},
    "items": [],
    "anything": "",
    "fixture": Fixture(first_corner=Point(x=1.5, seen=datetime(2026, 1, 1, tzinfo=UTC)), color=Color.GREEN),
    "points": [Point(x=0.0), Point(x=-1e-9)],
}
EMPTY: dict[str, Any] = {"text": "", "data": b"", "mapping": {}, "integer": 0, "number": 0.0, "span": timedelta()}


@pytest.fixture
def databases(postgresql_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The URL of an empty database of each kind."""
    monkeypatch.setattr(database, "_door", database._Door())
    urls = {"sqlite": f"sqlite:///{tmp_path}/machine.db", "postgresql": postgresql_database}
    for url in urls.values():
        set_database_url(url)
        make_tables(get_engine())
    yield urls
    set_database_url(postgresql_database)
    empty(get_engine())
    set_database_url("sqlite://")


@contextmanager
def at(url: str) -> Iterator[Accessors]:
    """Accessors on one of the databases."""
    set_database_url(url)
    yield all_accessors()


def fill(accessors: Accessors) -> None:
    """Records with keys of every kind, soft-deleted ones, references, ids that were given out and are free again."""
    accessors["everything"].insert_many([Everything(**FULL), Everything(), Everything(**EMPTY)])
    accessors["recipe"].insert_many([Recipe(name="a"), Recipe(name="deleted"), Recipe(name="b", settings={"=": 1})])
    accessors["recipe"].delete(2)
    accessors["part"].insert_many([Part(number="ß"), Part(number="B"), Part(number="a"), Part(number="_")])
    accessors["part"].delete("B")
    accessors["sample"].insert_many([Sample(id=UUID(int=number)) for number in (7, 2**127, 1)])
    accessors["ticket"].insert_many([Ticket(id=1), Ticket(id=2**62)])
    accessors["bin"].insert(Bin(id=40, code="A1"))
    accessors["shelf"].insert_many([Shelf(), Shelf()])
    accessors["job"].insert(Job(shelf_id=2))
    accessors["node"].insert_many([Node(id=1, name="root"), Node(id=5, name="leaf", parent_id=1)])
    accessors["node"].insert(Node(id=2, name="twig", parent_id=5))
    robot = accessors["robot"].insert(Robot())
    robot.tool_id = accessors["tool"].insert(Tool(robot_id=robot.id)).id
    accessors["robot"].save(robot)


@pytest.mark.parametrize(("origin", "target"), [("sqlite", "postgresql"), ("postgresql", "sqlite")])
def test_everything_moves_to_the_other_database_and_back(databases: dict[str, str], origin: str, target: str) -> None:
    with at(databases[origin]) as accessors:
        fill(accessors)
        before, archive = contents_by_key(accessors), exported(accessors)
    assert len(set(before["everything"])) == 3

    with at(databases[target]) as accessors:
        report = import_archive(archive, accessors.values(), mode="replace", actor="mover")
        assert {table.table: table.inserted for table in report.tables if table.inserted} == {
            name: len(records) for name, records in before.items() if records
        }
        assert contents_by_key(accessors) == before
        back = exported(accessors)
        assert {name for name in files_of(back) if files_of(back)[name] != files_of(archive)[name]} <= {
            "part.csv",  # whose keys the databases sort in another order
            "auditlog.csv",
            "manifest.json",
        }

    with at(databases[origin]) as accessors:
        report = import_archive(back, accessors.values(), mode="replace")
        assert not any(table.inserted or table.updated or table.removed for table in report.tables)
        assert contents_by_key(accessors) == before


@pytest.mark.parametrize(("origin", "target"), [("sqlite", "postgresql"), ("postgresql", "sqlite")])
@pytest.mark.parametrize("add", ["one by one", "many at once"])
def test_new_ids_do_not_meet_those_that_came(databases: dict[str, str], origin: str, target: str, add: str) -> None:
    with at(databases[origin]) as accessors:
        fill(accessors)
        archive = exported(accessors)

    with at(databases[target]) as accessors:
        import_archive(archive, accessors.values())
        insert: dict[str, Callable[[], list[Any]]] = {
            "bin": lambda: [Bin(code="new"), Bin(code="newer")],
            "recipe": lambda: [Recipe(name="new"), Recipe(name="newer")],
            "ticket": lambda: [Ticket(), Ticket()],
            "node": lambda: [Node(name="new"), Node(name="newer")],
            "robot": lambda: [Robot(), Robot()],
        }
        made = {
            name: [record.id for record in make(accessors[name], records(), add)] for name, records in insert.items()
        }

    assert made == {
        "bin": [41, 42],
        "recipe": [4, 5],
        "ticket": [2**62 + 1, 2**62 + 2],
        "node": [6, 7],
        "robot": [2, 3],
    }


def make(accessor: Any, records: list[Any], add: str) -> list[Any]:
    return [accessor.insert(record) for record in records] if add == "one by one" else accessor.insert_many(records)


def contents_by_key(accessors: Accessors) -> dict[str, list[str]]:
    """Everything that is stored, soft-deleted records included, in an order that no database decides."""
    return {
        name: sorted(repr(record.model_dump()) for record in accessor.all(include_deleted=True))
        for name, accessor in accessors.items()
    }
