"""The schema as text of Mermaid."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from storage.database import set_database_url
from storage.diagram import mermaid


@pytest.fixture(autouse=True)
def database() -> Iterator[None]:
    set_database_url("sqlite://")
    yield
    set_database_url("sqlite://")


def test_columns_have_type_key_and_whether_they_are_optional() -> None:
    table = sa.Table(
        "user",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("email", sa.String(40), unique=True, nullable=False),
        sa.Column("price", sa.Numeric(10, 2)),
    )
    assert mermaid([table]).splitlines() == [
        "erDiagram",
        '    "user" {',
        "        INTEGER id PK",
        "        VARCHAR(40) email UK",
        '        NUMERIC(10_2) price "optional"',
        "    }",
    ]


def relations(*tables: sa.Table) -> list[str]:
    return [line.strip() for line in mermaid(tables).splitlines() if "--" in line]


def test_relations_tell_how_many() -> None:
    metadata = sa.MetaData()
    shelf = sa.Table("shelf", metadata, sa.Column("id", sa.Integer, primary_key=True))
    child = sa.Table(
        "child",
        metadata,
        sa.Column("id", sa.ForeignKey("shelf.id"), primary_key=True),
        sa.Column("must", sa.ForeignKey("shelf.id"), nullable=False),
        sa.Column("may", sa.ForeignKey("shelf.id")),
        sa.Column("one", sa.ForeignKey("shelf.id"), unique=True, nullable=False),
        sa.Column("own", sa.ForeignKey("child.id")),
    )
    assert relations(shelf, child) == [
        '"shelf" ||--o| "child" : "id"',
        '"shelf" |o--o{ "child" : "may"',
        '"shelf" ||--o{ "child" : "must"',
        '"shelf" ||--o| "child" : "one"',
        '"child" |o--o{ "child" : "own"',
    ]


def test_a_reference_to_a_table_that_is_not_shown_is_left_out() -> None:
    metadata = sa.MetaData()
    sa.Table("shelf", metadata, sa.Column("id", sa.Integer, primary_key=True))
    job = sa.Table("job", metadata, sa.Column("shelf_id", sa.ForeignKey("shelf.id")))
    assert relations(job) == []


def test_names_that_mermaid_would_not_read() -> None:
    odd = sa.Table('a "b"\n%', sa.MetaData(), sa.Column("1st value", sa.Integer), sa.Column("größe", sa.DateTime(True)))
    lines = mermaid([odd]).splitlines()
    assert lines[1] == '    "a _b___" {'
    assert all(
        re.fullmatch(r'        [^\W\d][\w()\[\]-]* [^\W\d][\w()\[\]-]* "optional"', line) for line in lines[2:-1]
    )
