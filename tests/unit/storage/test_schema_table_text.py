from __future__ import annotations

import sqlite3

import pytest

from storage.schema.table_text import add_autoincrement, has_autoincrement, quote, rename_table

ADOPTED = [
    "CREATE TABLE job (\n\tid INTEGER NOT NULL, \n\tname VARCHAR, \n\tPRIMARY KEY (id)\n)",
    "CREATE TABLE job (id INTEGER PRIMARY KEY, name TEXT)",
    "CREATE TABLE job (id integer primary key asc not null, name TEXT)",
    'CREATE TABLE job ("id" INTEGER NOT NULL, name TEXT, CONSTRAINT "pk, (job)" PRIMARY KEY ("id"), UNIQUE (name))',
    "CREATE TABLE job ([id] INTEGER, name TEXT DEFAULT ', PRIMARY KEY (id)', CHECK (name <> ''), PRIMARY KEY(`ID`))",
    "CREATE TABLE job (id INTEGER -- the key, (numbered)\n, name TEXT /* PRIMARY KEY */, PRIMARY KEY (id) /* done */)",
    "CREATE TABLE job (name TEXT, id INTEGER, PRIMARY KEY (id), FOREIGN KEY (name) REFERENCES other (name)) STRICT",
]
LEFT_ALONE = [
    "CREATE TABLE job (id INTEGER PRIMARY KEY ON CONFLICT REPLACE, name TEXT)",
    "CREATE TABLE job (id INTEGER PRIMARY KEY DESC, name TEXT)",
    "CREATE TABLE job (id INTEGER, name TEXT, PRIMARY KEY (id) FOREIGN KEY (name) REFERENCES other (name))",
    "CREATE TABLE job (id INTEGER, name TEXT, PRIMARY KEY (id, name))",
    "CREATE TABLE job (id INTEGER PRIMARY KEY, name TEXT) WITHOUT ROWID",
    "CREATE TABLE job (name TEXT)",
]


def next_id_after_delete(create: str) -> int:
    database = sqlite3.connect(":memory:")
    database.execute(create)
    database.execute("INSERT INTO job (name) VALUES ('a'), ('b')")
    database.execute("DELETE FROM job WHERE id = 2")
    database.execute("INSERT INTO job (name) VALUES ('c')")
    found: int = database.execute("SELECT max(id) FROM job").fetchone()[0]
    database.close()
    return found


@pytest.mark.parametrize("sql", ADOPTED)
def test_a_key_gets_autoincrement_however_it_is_declared(sql: str) -> None:
    adopted = add_autoincrement(sql, "id")

    assert adopted is not None
    assert has_autoincrement(adopted)
    assert not has_autoincrement(sql)
    assert next_id_after_delete(sql) == 2
    assert next_id_after_delete(adopted) == 3


@pytest.mark.parametrize("sql", LEFT_ALONE)
def test_a_key_that_cannot_be_changed_safely_is_left_alone(sql: str) -> None:
    assert add_autoincrement(sql, "id") is None


def test_everything_but_the_key_stays_as_it_stands() -> None:
    sql = "CREATE TABLE job (id INTEGER, -- key\n  name TEXT COLLATE NOCASE, PRIMARY KEY (id)\n)"

    assert add_autoincrement(sql, "id") == (
        "CREATE TABLE job (id INTEGER PRIMARY KEY AUTOINCREMENT, -- key\n  name TEXT COLLATE NOCASE\n)"
    )


def test_the_word_inside_a_string_a_name_or_a_comment_does_not_count() -> None:
    sql = "CREATE TABLE job (id INTEGER /* AUTOINCREMENT */, \"AUTOINCREMENT\" TEXT DEFAULT 'AUTOINCREMENT')"

    assert not has_autoincrement(sql)


@pytest.mark.parametrize("name", ["job", '"job"', "[job]", "`job`", "/* jobs */ job"])
def test_renaming_changes_only_the_name_of_the_table(name: str) -> None:
    renamed = rename_table(f"CREATE TABLE {name}(job TEXT REFERENCES job (job))", 'a "b"')

    assert renamed.endswith('"a ""b"""(job TEXT REFERENCES job (job))')


def test_a_quoted_name_survives_sqlite() -> None:
    database = sqlite3.connect(":memory:")
    name = 'a "b" [c] `d` e\'f'

    database.execute(f"CREATE TABLE {quote(name)} (id)")

    assert database.execute("SELECT name FROM sqlite_master").fetchall() == [(name,)]
    database.close()
