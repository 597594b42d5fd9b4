from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    event,
    insert,
    inspect,
    make_url,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from storage.dialects.sqlite import SQLITE
from storage.schema.ids import reserve_ids
from storage.schema.tables import create, prepare


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = SQLITE.create_engine(make_url(f"sqlite:///{tmp_path}/tables.db"), busy_timeout=5)
    yield engine
    engine.dispose()


def prepared(*columns: Column[int] | Column[str], name: str = "thing") -> tuple[MetaData, Table]:
    metadata = MetaData()
    table = Table(name, metadata, *columns)
    prepare(metadata)
    return metadata, table


@pytest.mark.parametrize("key_type", [Integer, BigInteger])
def test_the_id_of_a_deleted_last_row_does_not_come_back(engine: Engine, key_type: type[Integer]) -> None:
    metadata, table = prepared(Column("id", key_type, primary_key=True))
    create(engine, metadata)

    with engine.begin() as connection:
        connection.execute(insert(table), [{}, {}])
        connection.execute(table.delete().where(table.c.id == 2))
        assert connection.execute(insert(table)).inserted_primary_key == (3,)


def test_a_big_key_stays_big_on_postgresql() -> None:
    _, table = prepared(Column("id", BigInteger, primary_key=True))

    dialect = make_url("postgresql+psycopg://").get_dialect()()
    assert "BIGSERIAL" in str(CreateTable(table).compile(dialect=dialect))


def test_preparing_twice_changes_nothing() -> None:
    metadata, table = prepared(Column("id", BigInteger, primary_key=True), Column("data", JSON))
    before = str(CreateTable(table).compile(dialect=sqlite.dialect()))

    prepare(metadata)

    assert str(CreateTable(table).compile(dialect=sqlite.dialect())) == before


def test_a_number_that_is_all_of_a_json_value_stays_what_it_is(engine: Engine) -> None:
    metadata, table = prepared(Column("id", Integer, primary_key=True), Column("data", JSON))
    create(engine, metadata)

    with engine.begin() as connection:
        connection.execute(insert(table), {"data": 1.0})
        assert connection.execute(text("SELECT data, typeof(data) FROM thing")).one() == ("1.0", "text")
        assert repr(connection.scalar(table.select().with_only_columns(table.c.data))) == "1.0"


def test_none_in_a_json_column_is_sql_null(engine: Engine) -> None:
    metadata, table = prepared(Column("id", Integer, primary_key=True), Column("data", JSON))
    create(engine, metadata)

    with engine.begin() as connection:
        connection.execute(insert(table), {"data": None})
        assert connection.scalar(text("SELECT data IS NULL FROM thing")) == 1


@pytest.mark.parametrize(
    "key", [Column("id", String, primary_key=True), Column("id", Integer, ForeignKey("thing.id"), primary_key=True)]
)
def test_keys_that_the_database_does_not_number_are_left_alone(engine: Engine, key: Column[str]) -> None:
    metadata, _ = prepared(key)

    create(engine, metadata)

    with engine.connect() as connection:
        assert "AUTOINCREMENT" not in str(connection.scalar(text("SELECT sql FROM sqlite_master")))


def test_tables_that_are_there_are_not_touched_and_nothing_is_locked(engine: Engine) -> None:
    metadata, table = prepared(Column("id", Integer, primary_key=True))
    create(engine, metadata)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))

    create(engine, metadata)

    assert inspect(engine).has_table(table.name)
    assert all(statement.lstrip().startswith(("SELECT", "PRAGMA")) for statement in statements)


def test_tables_are_made_all_or_none(engine: Engine) -> None:
    metadata, _ = prepared(Column("id", Integer, primary_key=True), name="first")
    Table("second", metadata, Column("id", Integer, primary_key=True), sqlite_with_rowid=False)
    event.listen(metadata.tables["second"], "before_create", _fail)

    with pytest.raises(RuntimeError):
        create(engine, metadata)

    assert inspect(engine).get_table_names() == []


def _fail(*_arguments: object, **_options: object) -> None:
    raise RuntimeError("no second table")


def next_id(engine: Engine, table: Table) -> int:
    with engine.begin() as connection:
        key = connection.execute(insert(table)).inserted_primary_key
    assert key is not None
    found: int = key[0]
    return found


def test_reserved_ids_are_not_given_out(engine: Engine) -> None:
    metadata, table = prepared(Column("id", Integer, primary_key=True))
    create(engine, metadata)

    with engine.begin() as connection:
        reserve_ids(connection, table, 12)

    assert next_id(engine, table) == 13


def test_reserving_never_goes_back(engine: Engine) -> None:
    metadata, table = prepared(Column("id", Integer, primary_key=True))
    create(engine, metadata)
    with engine.begin() as connection:
        reserve_ids(connection, table, 12)

    with engine.begin() as connection:
        reserve_ids(connection, table, 3)

    assert next_id(engine, table) == 13


def test_nothing_is_reserved_for_keys_that_the_database_does_not_number(engine: Engine) -> None:
    metadata, table = prepared(Column("id", String, primary_key=True))
    create(engine, metadata)

    with engine.begin() as connection:
        reserve_ids(connection, table, 12)
        assert connection.scalar(text("SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'")) == 0
