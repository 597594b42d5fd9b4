"""The comparison of tables with models, and the SQL it gives, on real engines."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Column, Engine, Integer, MetaData, Table, make_url
from sqlmodel import UTCDateTime
from sqlmodel.sql.sqltypes import AutoString

from storage.dialects.postgresql import POSTGRESQL
from storage.dialects.sqlite import SQLITE
from storage.dialects.sqlite_driver import DRIVER
from storage.errors import SchemaMismatch
from storage.schema.comparison import check, compare
from storage.schema.tables import create, prepare


class Color(enum.Enum):
    red = "r"
    green = "g"


class MoreColors(enum.Enum):
    red = "r"
    green = "g"
    ultraviolet = "u"


TYPES: dict[str, Any] = {
    "int": sa.Integer(),
    "bigint": sa.BigInteger(),
    "float": sa.Float(),
    "bool": sa.Boolean(),
    "str": AutoString(),
    "str of a length": AutoString(20),
    "bytes": sa.LargeBinary(),
    "decimal": sa.Numeric(),
    "decimal of a scale": sa.Numeric(10, 3),
    "datetime": UTCDateTime(),
    "naive datetime": sa.DateTime(),
    "date": sa.Date(),
    "time": sa.Time(),
    "timedelta": sa.Interval(),
    "uuid": sa.Uuid(),
    "enum": sa.Enum(Color),
    "json": sa.JSON(),
}
# The same to SQLite: see storage.schema.quirks.
ALIKE_IN_SQLITE = [
    {"int", "bigint"},
    {"str", "str of a length", "uuid", "enum"},
    {"decimal", "decimal of a scale"},
    {"datetime", "naive datetime", "timedelta"},
]


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        engine = SQLITE.create_engine(make_url(f"sqlite:///{tmp_path}/compared.db"), busy_timeout=5)
    else:
        url = make_url(request.getfixturevalue("postgresql_url"))
        engine = POSTGRESQL.create_engine(url, busy_timeout=5)
    clear(engine)
    yield engine
    clear(engine)
    engine.dispose()


def clear(engine: Engine) -> None:
    stored = MetaData()
    stored.reflect(engine)
    stored.drop_all(engine)
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TYPE IF EXISTS color")


def thing(*columns: Any, **options: Any) -> MetaData:
    metadata = MetaData()
    Table("thing", metadata, Column("id", Integer, primary_key=True), *columns, **options)
    Table("other", metadata, Column("id", Integer, primary_key=True))
    prepare(metadata)
    return metadata


def column(kind: str, **options: Any) -> Column[Any]:
    return Column("value", TYPES[kind], **options)


def rows(engine: Engine, metadata: MetaData, *values: dict[str, Any]) -> None:
    with engine.begin() as connection:
        connection.execute(metadata.tables["thing"].insert(), list(values))


def run(engine: Engine, script: str) -> None:
    """Run a script as its reader would: in the shell of the database."""
    if engine.dialect.name == "sqlite":
        # Not Python's own sqlite3: two copies of the library in one process undo each other's locks
        # (https://www.sqlite.org/howtocorrupt.html, section 2.2.1).
        with closing(DRIVER.connect(str(engine.url.database))) as database:
            database.execute("PRAGMA foreign_keys = ON")
            database.executescript(script)
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(script)


def mend(engine: Engine, metadata: MetaData) -> None:
    """Run what the comparison gives, and compare again."""
    for script in dict.fromkeys(difference.sql for difference in compare(engine, metadata)):
        run(engine, script)
    assert compare(engine, metadata) == []


@pytest.mark.parametrize("kind", TYPES)
def test_a_table_just_made_has_no_difference(engine: Engine, kind: str) -> None:
    metadata = thing(column(kind, nullable=False), Column("maybe", TYPES[kind], index=kind != "json"))

    create(engine, metadata)

    assert compare(engine, metadata) == []


@pytest.mark.parametrize(("declared", "accepted"), [("JSON", True), ("JSON_TEXT", True), ("TEXT", False)])
def test_the_json_of_older_sqlite_databases_is_no_difference(tmp_path: Path, declared: str, accepted: bool) -> None:
    engine = SQLITE.create_engine(make_url(f"sqlite:///{tmp_path}/older.db"), busy_timeout=5)
    metadata = thing(column("json"))
    create(engine, thing())
    run(engine, f"ALTER TABLE thing ADD COLUMN value {declared}")

    assert (compare(engine, metadata) == []) is accepted
    engine.dispose()


@pytest.mark.parametrize("kind", TYPES)
def test_a_missing_column_is_added_and_filled(engine: Engine, kind: str) -> None:
    create(engine, thing())
    rows(engine, thing(), {"id": 1}, {"id": 2})
    metadata = thing(column(kind, nullable=False))

    (difference,) = compare(engine, metadata)
    mend(engine, metadata)

    assert (difference.table, difference.column, difference.what) == ("thing", "value", "is missing")
    with engine.connect() as connection:
        values = connection.execute(sa.select(metadata.tables["thing"].c.value)).scalars().all()
    assert len(values) == 2
    assert None not in values


@pytest.mark.parametrize("was", TYPES)
def test_every_change_of_type_is_found_and_mended(engine: Engine, was: str) -> None:
    others = sorted(TYPES.keys() - {was})
    create(engine, thing(*(Column(f"to {other}", TYPES[was]) for other in others)))
    rows(engine, thing(), {"id": 1})
    metadata = thing(*(Column(f"to {other}", TYPES[other], nullable=False) for other in others))
    alike = {kind for kinds in ALIKE_IN_SQLITE if was in kinds for kind in kinds if engine.dialect.name == "sqlite"}

    found = compare(engine, metadata)

    assert [difference.column for difference in found] == [f"to {other}" for other in others]
    changed = {f"to {other}" for other in others if other not in alike}
    assert {difference.column for difference in found if difference.what.startswith("is ")} == changed
    mend(engine, metadata)


def test_the_models_default_fills_a_new_column(engine: Engine) -> None:
    create(engine, thing())
    rows(engine, thing(), {"id": 1})
    metadata = thing(Column("value", AutoString(), nullable=False, default="it's"))

    mend(engine, metadata)

    with engine.connect() as connection:
        assert connection.scalar(sa.select(metadata.tables["thing"].c.value)) == "it's"


def test_values_survive_a_rebuild(engine: Engine) -> None:
    before = thing(Column("text", AutoString()), Column("gone", Integer), Column("number", AutoString()))
    create(engine, before)
    rows(engine, before, {"text": "a", "gone": 1, "number": "7"}, {"text": None, "gone": 2, "number": "8"})
    metadata = thing(Column("text", AutoString(), nullable=False), Column("number", Integer))

    mend(engine, metadata)

    with engine.connect() as connection:
        found = connection.execute(sa.select(metadata.tables["thing"]).order_by("id")).all()
    assert found == [(1, "a", 7), (2, "", 8)]


@pytest.mark.parametrize("index", [False, True])
def test_a_column_that_no_model_has_is_reported_and_dropped(engine: Engine, index: bool) -> None:
    create(engine, thing(Column("extra", Integer, index=index)))

    (difference,) = compare(engine, thing())

    assert (difference.column, difference.what) == ("extra", "is not in the model")
    mend(engine, thing())


@pytest.mark.parametrize(
    "columns",
    [
        lambda: [Column("value", Integer, nullable=False)],
        lambda: [Column("value", Integer, index=True)],
        lambda: [Column("value", Integer, index=True, unique=True)],
        lambda: [Column("value", Integer, unique=True)],
        lambda: [Column("value", Integer, sa.ForeignKey("other.id", ondelete="CASCADE"))],
        lambda: [Column("value", Integer), sa.UniqueConstraint("id", "value")],
    ],
    ids=["not null", "index", "unique index", "unique", "foreign key", "unique pair"],
)
def test_constraints_and_indexes_are_compared_both_ways(engine: Engine, columns: Callable[[], list[Any]]) -> None:
    plain = thing(Column("value", Integer))
    guarded = thing(*columns())
    create(engine, plain)

    assert len(compare(engine, guarded)) == 1
    mend(engine, guarded)
    mend(engine, plain)


def test_another_key_is_found_and_mended(engine: Engine) -> None:
    create(engine, thing(Column("name", AutoString(), nullable=False)))
    metadata = MetaData()
    Table("thing", metadata, Column("id", Integer, autoincrement=False), Column("name", AutoString(), primary_key=True))
    prepare(metadata)
    metadata.tables["thing"].c.id.nullable = False

    whats = [difference.what for difference in compare(engine, metadata)]

    assert whats == ["has the key (id), in the model it is (name)"]
    mend(engine, metadata)


def test_a_missing_table_comes_with_its_statement(engine: Engine) -> None:
    metadata = thing(column("enum", index=True))

    assert {difference.what for difference in compare(engine, metadata)} == {"is missing"}
    mend(engine, metadata)


def test_tables_and_indexes_that_no_model_knows_do_not_count(engine: Engine) -> None:
    metadata = thing(Column("value", Integer))
    create(engine, metadata)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE theirs (id INTEGER, thing_id INTEGER REFERENCES thing (id))")
        connection.exec_driver_sql("CREATE INDEX their_index ON thing (value)")

    found = compare(engine, metadata)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE theirs")

    assert found == []


def test_a_longer_member_of_an_enum_needs_no_change_in_sqlite_and_a_value_in_postgresql(engine: Engine) -> None:
    create(engine, thing(column("enum")))
    metadata = thing(Column("value", sa.Enum(MoreColors, name="color")))

    scripts = [difference.sql for difference in compare(engine, metadata)]

    expected = ["ALTER TYPE color ADD VALUE 'ultraviolet';"] if engine.dialect.name == "postgresql" else []
    assert scripts == expected
    mend(engine, metadata)


def test_the_error_names_table_column_and_sql(engine: Engine) -> None:
    create(engine, thing())

    with pytest.raises(SchemaMismatch, match=r"column thing\.value is missing") as caught:
        check(engine, thing(column("int")))

    assert "ALTER TABLE thing ADD COLUMN value INTEGER;" in str(caught.value)


def test_tables_as_the_models_say_pass(engine: Engine) -> None:
    create(engine, thing())

    check(engine, thing())


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    engine = SQLITE.create_engine(make_url(f"sqlite:///{tmp_path}/rebuilt.db"), busy_timeout=5)
    yield engine
    engine.dispose()


def test_a_rebuild_that_fails_loses_nothing(sqlite_engine: Engine) -> None:
    create(sqlite_engine, thing(column("int")))
    rows(sqlite_engine, thing(column("int")), {"value": 7}, {"value": 7})
    metadata = thing(column("int", unique=True))

    with pytest.raises(DRIVER.IntegrityError):
        mend(sqlite_engine, metadata)

    with sqlite_engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT value FROM thing").scalars().all() == [7, 7]


@pytest.mark.parametrize("left", [[], [{"id": 1}]])
def test_ids_do_not_come_back_after_a_rebuild(sqlite_engine: Engine, left: list[dict[str, int]]) -> None:
    create(sqlite_engine, thing(column("str")))
    rows(sqlite_engine, thing(), *left, {"id": 4})
    with sqlite_engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM thing WHERE id = 4")

    mend(sqlite_engine, thing(column("int")))

    with sqlite_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO thing DEFAULT VALUES")
        assert connection.exec_driver_sql("SELECT max(id) FROM thing").scalar() == 5


def test_a_rebuild_keeps_what_others_hung_on_the_table(sqlite_engine: Engine) -> None:
    create(sqlite_engine, thing(column("str"), Column("gone", Integer)))
    with sqlite_engine.begin() as connection:
        for statement in (
            "CREATE TABLE child (thing_id INTEGER REFERENCES thing (id) ON DELETE CASCADE)",
            "CREATE VIEW names AS SELECT value FROM thing",
            "CREATE INDEX theirs ON thing (value, id)",
            "CREATE INDEX theirs_gone ON thing (gone)",
            "CREATE TRIGGER told AFTER INSERT ON thing BEGIN INSERT INTO child VALUES (new.id); END",
            "INSERT INTO thing (id, value) VALUES (4, '7')",
        ):
            connection.exec_driver_sql(statement)

    mend(sqlite_engine, thing(column("int", nullable=False)))

    with sqlite_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO thing (id, value) VALUES (9, 8)")
        assert connection.exec_driver_sql("SELECT * FROM names").scalars().all() == [7, 8]
        assert connection.exec_driver_sql("SELECT * FROM child").scalars().all() == [4, 9]
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE name LIKE 'their%'").scalars().all()
    assert names == ["theirs"]


def test_a_key_that_is_not_null_without_saying_so_is_no_difference(sqlite_engine: Engine) -> None:
    with sqlite_engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE thing (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("CREATE TABLE other (id INTEGER PRIMARY KEY)")

    assert compare(sqlite_engine, thing()) == []


def test_a_bigint_key_that_sqlite_does_not_number_is_a_difference(sqlite_engine: Engine) -> None:
    with sqlite_engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE thing (id BIGINT NOT NULL, PRIMARY KEY (id))")
        connection.exec_driver_sql("INSERT INTO thing VALUES (4)")
    create(sqlite_engine, thing())

    assert [difference.column for difference in compare(sqlite_engine, thing())] == ["id"]
    mend(sqlite_engine, thing())

    with sqlite_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO thing DEFAULT VALUES")
        assert connection.exec_driver_sql("SELECT id FROM thing").scalars().all() == [4, 5]
