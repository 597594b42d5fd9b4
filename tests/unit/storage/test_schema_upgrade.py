from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, event, make_url
from sqlmodel import SQLModel

from storage.auditor import AuditLog
from storage.dialects.sqlite import SQLITE
from storage.schema.tables import prepare
from storage.schema.upgrade import is_old, upgrade

OLD_TRAIL = """
CREATE TABLE auditlog (
    id INTEGER NOT NULL, timestamp DATETIME NOT NULL, component VARCHAR NOT NULL, record_id INTEGER NOT NULL,
    operation VARCHAR NOT NULL, actor VARCHAR NOT NULL, "before" JSON, "after" JSON, PRIMARY KEY (id)
)
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = SQLITE.create_engine(make_url(f"sqlite:///{tmp_path}/old.db"), busy_timeout=5)
    run(engine, OLD_TRAIL)
    yield engine
    engine.dispose()


def run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def read(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def models(**columns: list[str]) -> MetaData:
    """Models with an integer key, and text in their other columns."""
    metadata = MetaData()
    for table, names in columns.items():
        Table(table, metadata, Column("id", Integer, primary_key=True), *(Column(name, String) for name in names))
    prepare(SQLModel.metadata)
    prepare(metadata)
    return metadata


def make(engine: Engine, table: str, *columns: str) -> None:
    run(engine, f"CREATE TABLE {table} (id INTEGER NOT NULL, {', '.join(columns)}, PRIMARY KEY (id))")


def note(engine: Engine, component: str, record_id: object, *keys: str) -> None:
    """Add to the old trail that a record was deleted."""
    before = json.dumps(dict.fromkeys(["id", *keys]))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            'INSERT INTO auditlog (timestamp, component, record_id, operation, actor, "before", "after")'
            " VALUES ('2025-03-01 12:00:00.000000', ?, ?, 'delete', 'me', ?, 'null')",
            (component, record_id, before),
        )


def next_id(engine: Engine, table: str) -> int:
    with engine.begin() as connection:
        return connection.exec_driver_sql(f"INSERT INTO {table} DEFAULT VALUES").lastrowid


def test_the_trail_becomes_todays(engine: Engine) -> None:
    note(engine, "jobs", 12, "name")
    assert is_old(engine)

    upgrade(engine, models())

    assert not is_old(engine)
    assert read(engine, 'SELECT id, record_id, record_key, "before", "after" FROM auditlog') == [
        (1, 12, "12", '{"id": null, "name": null}', None)
    ]
    indexes = {name for (name,) in read(engine, "SELECT name FROM sqlite_master WHERE type = 'index'")}
    assert {index.name for index in SQLModel.metadata.tables["auditlog"].indexes} == indexes


def test_a_key_that_was_text_stays_in_the_record_key(engine: Engine) -> None:
    note(engine, "recipes", "bread", "name")

    upgrade(engine, models())

    assert read(engine, "SELECT record_id, record_key FROM auditlog") == [(None, "bread")]


def test_entries_of_the_trail_get_new_ids_only(engine: Engine) -> None:
    note(engine, "jobs", 1)
    note(engine, "jobs", 2)

    upgrade(engine, models())

    assert read(engine, "SELECT seq FROM sqlite_sequence WHERE name = 'auditlog'") == [(2,)]


def test_an_id_that_only_the_trail_remembers_does_not_come_back(engine: Engine) -> None:
    make(engine, "job", "name")
    run(engine, "INSERT INTO job (id) VALUES (11)")
    note(engine, "jobs", 12, "name")

    upgrade(engine, models(job=["name"]))

    assert next_id(engine, "job") == 13


def test_the_ids_of_other_tables_are_not_skipped(engine: Engine) -> None:
    make(engine, "job", "name")
    make(engine, "user", "email")
    note(engine, "jobs", 12, "name")
    note(engine, "users", 3, "email")

    upgrade(engine, models(job=["name"], user=["email"]))

    assert (next_id(engine, "job"), next_id(engine, "user")) == (13, 4)


def test_tables_with_the_same_columns_both_start_above_the_ids_of_either(engine: Engine) -> None:
    make(engine, "job", "name")
    make(engine, "task", "name")
    note(engine, "jobs", 12, "name")

    upgrade(engine, models(job=["name"], task=["name"]))

    assert (next_id(engine, "job"), next_id(engine, "task")) == (13, 13)


def test_a_component_that_fits_no_table_counts_for_those_that_fit_no_component(engine: Engine) -> None:
    make(engine, "job", "name", "speed")
    make(engine, "user", "email")
    note(engine, "jobs", 12, "name")
    note(engine, "users", 3, "email")

    upgrade(engine, models(job=["name", "speed"], user=["email"]))

    assert (next_id(engine, "job"), next_id(engine, "user")) == (13, 4)


def test_a_greater_id_in_the_table_counts_more_than_the_trail(engine: Engine) -> None:
    make(engine, "job", "name")
    run(engine, "INSERT INTO job (id) VALUES (40)")
    note(engine, "jobs", 12, "name")

    upgrade(engine, models(job=["name"]))

    assert next_id(engine, "job") == 41


def test_what_hangs_on_a_table_stays(engine: Engine) -> None:
    run(
        engine,
        "CREATE TABLE job (id INTEGER NOT NULL, name TEXT COLLATE NOCASE DEFAULT 'x' CHECK (name <> ''),"
        " shout TEXT AS (upper(name)), boss INTEGER REFERENCES job (id), UNIQUE (name), PRIMARY KEY (id))",
        "CREATE TABLE step (job_id INTEGER REFERENCES job (id) ON DELETE CASCADE)",
        "CREATE INDEX by_boss ON job (boss) WHERE boss IS NOT NULL",
        "CREATE VIEW names AS SELECT name FROM job",
        "CREATE TRIGGER first_step AFTER INSERT ON job BEGIN INSERT INTO step VALUES (new.id); END",
        "INSERT INTO job (id, name, boss) VALUES (1, 'a', NULL), (2, 'b', 1)",
    )
    others = "SELECT type, name, sql FROM sqlite_master WHERE tbl_name <> 'auditlog' AND type <> 'table' ORDER BY name"
    before = (read(engine, others), read(engine, "SELECT * FROM job"), read(engine, "SELECT * FROM step"))

    upgrade(engine, models(job=["name", "shout", "boss"]))

    assert (read(engine, others), read(engine, "SELECT * FROM job"), read(engine, "SELECT * FROM step")) == before
    assert read(engine, "PRAGMA foreign_key_check") == []
    assert read(engine, "PRAGMA integrity_check") == [("ok",)]
    run(engine, "DELETE FROM job WHERE id = 2")
    run(engine, "INSERT INTO job (name) VALUES ('c')")
    assert read(engine, "SELECT id, shout FROM job") == [(1, "A"), (3, "C")]
    assert read(engine, "SELECT * FROM step") == [(1,), (3,)]
    assert read(engine, "SELECT \"table\" FROM pragma_foreign_key_list('job')") == [("job",)]


def test_foreign_keys_are_on_again_afterwards(engine: Engine) -> None:
    upgrade(engine, models())

    assert read(engine, "PRAGMA foreign_keys") == [(1,)]
    assert read(engine, "PRAGMA legacy_alter_table") == [(0,)]


def test_a_reference_that_was_broken_before_does_not_stop_the_upgrade(engine: Engine) -> None:
    run(engine, "CREATE TABLE job (id INTEGER NOT NULL, boss INTEGER REFERENCES job (id), PRIMARY KEY (id))")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("INSERT INTO job VALUES (1, 99)")
        connection.commit()
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")

    upgrade(engine, models(job=["boss"]))

    assert read(engine, "SELECT * FROM job") == [(1, 99)]


def test_a_table_that_no_model_knows_is_not_touched(engine: Engine) -> None:
    make(engine, "theirs", "name")

    upgrade(engine, models())

    assert "AUTOINCREMENT" not in read(engine, "SELECT sql FROM sqlite_master WHERE name = 'theirs'")[0][0]


def test_a_table_declared_in_an_odd_way_is_left_with_a_warning(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    odd = "CREATE TABLE job (id INTEGER PRIMARY KEY ON CONFLICT REPLACE, name TEXT)"
    run(engine, odd)

    with caplog.at_level(logging.WARNING, "storage"):
        upgrade(engine, models(job=["name"]))

    assert read(engine, "SELECT sql FROM sqlite_master WHERE name = 'job'") == [(odd,)]
    assert "table job" in caplog.text


def test_a_second_upgrade_locks_and_writes_nothing(engine: Engine) -> None:
    make(engine, "job", "name")
    metadata = models(job=["name"])
    upgrade(engine, metadata)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))

    upgrade(engine, metadata)

    assert statements
    assert all(statement.startswith(("SELECT", "PRAGMA")) for statement in statements)


def test_an_upgrade_that_fails_leaves_everything_as_it_was(engine: Engine) -> None:
    make(engine, "job", "name")
    note(engine, "jobs", 1, "name")
    before = read(engine, "SELECT * FROM sqlite_master")

    @event.listens_for(engine, "before_cursor_execute")
    def fail(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith('ALTER TABLE "job_rebuilt"'):
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        upgrade(engine, models(job=["name"]))

    event.remove(engine, "before_cursor_execute", fail)
    assert read(engine, "SELECT * FROM sqlite_master") == before
    assert read(engine, "PRAGMA foreign_keys") == [(1,)]


def test_a_database_without_a_trail_is_upgraded_too(tmp_path: Path) -> None:
    engine = SQLITE.create_engine(make_url(f"sqlite:///{tmp_path}/plain.db"), busy_timeout=5)
    make(engine, "job", "name")
    run(engine, "INSERT INTO job (id) VALUES (4)")

    upgrade(engine, models(job=["name"]))

    assert next_id(engine, "job") == 5
    engine.dispose()


def test_the_trail_is_the_one_of_the_auditor() -> None:
    assert AuditLog.__tablename__ == "auditlog"


def indexes_of_the_trail(engine: Engine) -> dict[str, str]:
    return dict(read(engine, "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'auditlog'"))


def test_indexes_of_the_trail_become_todays(engine: Engine) -> None:
    upgrade(engine, models())
    wanted = indexes_of_the_trail(engine)
    run(
        engine,
        "DROP INDEX ix_auditlog_actor_timestamp",
        "CREATE INDEX ix_auditlog_actor ON auditlog (actor)",
        "DROP INDEX ix_auditlog_timestamp",
        "CREATE INDEX ix_auditlog_timestamp ON auditlog (actor, timestamp)",
        "CREATE INDEX by_somebody_else ON auditlog (operation)",
    )

    upgrade(engine, models())

    found = indexes_of_the_trail(engine)
    assert found.pop("by_somebody_else")
    assert found == wanted


def test_a_trail_of_today_is_left_alone(engine: Engine) -> None:
    upgrade(engine, models())
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    upgrade(engine, models())
    assert not [statement for statement in statements if "BEGIN" in statement or "INDEX" in statement.split("(")[0]]
