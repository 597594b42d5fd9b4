"""Files that must not become the database: damaged, hostile, or of another application."""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from storage.bootstrap import bootstrap
from storage.database import set_database_url
from storage.errors import BackupInvalid
from storage.trail import read_trail
from storage.transfer.backup import backup_to
from storage.transfer.restore import restore
from tests.integration.storage_backup.files import change, left_over, safety_copies, values
from tests.integration.storage_backup.plant import Plant

CHANCE = random.Random(3)  # noqa: S311 - no secret
JUNK = CHANCE.randbytes(100_000)
NAMES = "SELECT name FROM user ORDER BY id"


def refused(file: Path, plant: Plant, database: Path, *, integrity_check: bool = True) -> BackupInvalid:
    """Restore a file that must be refused, and see that nothing changed."""
    before = plant.names()
    with pytest.raises(BackupInvalid) as caught:
        restore(file, integrity_check=integrity_check)
    assert plant.names() == before
    assert safety_copies(database) == []
    assert str(file.parent) not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"SQLite",
        b"PK\x03\x04 an archive",
        JUNK,
        CHANCE.randbytes(8 * 4096),  # as if it were encrypted
        b"SQLite format 3\0",
        b"SQLite format 3\0" + JUNK,
        b"SQLite format 3\0" + bytes(100_000),
    ],
)
def test_what_is_no_database_is_refused(plant: Plant, path: Path, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file.sqlite"
    file.write_bytes(content)

    assert refused(file, plant, path).check == "header"


@pytest.mark.parametrize("length", [100, 511, 4095, 4096, 4097, 8192, 20_000])
def test_a_truncated_backup_is_refused(plant: Plant, backup: Path, path: Path, length: int) -> None:
    os.truncate(backup, length)

    assert refused(backup, plant, path).check in {"header", "quick_check"}


@pytest.mark.parametrize(("offset", "value"), [(18, 3), (19, 3), (59, 4)])
def test_a_header_that_only_some_connections_understand_is_refused(
    plant: Plant, backup: Path, path: Path, offset: int, value: int
) -> None:
    """Versions for writing and reading, and the text encoding: https://www.sqlite.org/fileformat.html."""
    with backup.open("rb+") as file:
        file.seek(offset)
        file.write(bytes([value]))

    assert refused(backup, plant, path).check == "header"


def test_an_index_that_says_otherwise_is_found_by_the_integrity_check_only(
    plant: Plant, backup: Path, path: Path
) -> None:
    index = "name = 'ix_user_deleted_at'"
    change(backup, f"CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE {index}")  # noqa: S608
    change(backup, "PRAGMA writable_schema = ON", f"DELETE FROM sqlite_schema WHERE {index}")  # noqa: S608
    change(backup, "UPDATE user SET deleted_at = '2026-11-23 07:18:41.966944'")
    change(backup, "PRAGMA writable_schema = ON", "INSERT INTO sqlite_schema SELECT * FROM kept")

    assert refused(backup, plant, path).check == "integrity_check"
    restore(backup, integrity_check=False)
    assert plant.names() == ["Ada"]  # who is deleted, but the index does not know


def test_references_to_nowhere_are_refused(plant: Plant, backup: Path, path: Path) -> None:
    change(backup, "INSERT INTO job (user_id, note) VALUES (77, 'ghost')")

    error = refused(backup, plant, path)

    assert error.check == "foreign_key_check"
    assert "rows of job refer to rows of user that are not there" in str(error)


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("CREATE TRIGGER evil AFTER INSERT ON user BEGIN DELETE FROM job; END", "trigger evil"),
        ("CREATE VIEW evil AS SELECT * FROM user", "view evil"),
        ("CREATE VIRTUAL TABLE evil USING fts5(text)", "table evil"),
        ("CREATE UNIQUE INDEX evil ON user (email)", "index evil"),
        ("CREATE INDEX evil ON user (name) WHERE abs(id) > 1", "index evil"),
    ],
)
def test_what_could_run_code_or_keep_rows_out_is_refused_unless_the_database_has_the_same(
    plant: Plant, backup: Path, path: Path, statement: str, what: str
) -> None:
    change(backup, statement)

    error = refused(backup, plant, path)
    assert error.check == "schema"
    assert f"has what the database does not have: {what}" in str(error)

    change(path, statement)
    restore(backup)
    assert plant.names() == ["Ada"]


def rewrite(file: Path, rule: str) -> None:
    """Put something behind a column in the text of a table."""
    quoted = rule.replace("'", "''")
    text = f"replace(sql, 'email VARCHAR NOT NULL', 'email VARCHAR NOT NULL {quoted}' || char(10))"
    change(file, "PRAGMA writable_schema = ON", f"UPDATE sqlite_schema SET sql = {text} WHERE name = 'user'")  # noqa: S608


@pytest.mark.parametrize(
    ("added", "told"),
    [
        ("CHECK (email <> 'eve@example.com')", "CHECK in user"),
        ("check (1) -- all 'is well'", "CHECK in user"),
        ("CONSTRAINT a CHECK (1) CONSTRAINT b CHECK (2)", "CHECK in user"),
        ("COLLATE NOCASE", "COLLATE in user"),
        ("ON CONFLICT IGNORE", "CONFLICT in user"),
    ],
)
def test_a_table_with_rules_is_refused_unless_the_database_has_them_too(
    plant: Plant, backup: Path, path: Path, added: str, told: str
) -> None:
    rewrite(backup, added)

    assert told in str(refused(backup, plant, path))

    rewrite(path, added)
    restore(backup)
    assert plant.names() == ["Ada"]


def test_words_that_are_names_or_values_are_no_rules(plant: Plant, backup: Path, path: Path) -> None:
    rewrite(backup, "DEFAULT 'CHECK' /* AS */")

    restore(backup)

    assert plant.names() == ["Ada"]


@pytest.mark.parametrize("index", ["UNIQUE INDEX evil ON user (1)", "INDEX evil ON user (abs(id))"])
def test_an_index_on_expressions_is_refused(plant: Plant, backup: Path, path: Path, index: str) -> None:
    change(backup, f"CREATE {index}")

    assert "index evil" in str(refused(backup, plant, path))


def test_an_index_that_changes_nothing_but_speed_does_not_matter(plant: Plant, backup: Path) -> None:
    change(backup, "CREATE INDEX by_name ON user (name)")

    restore(backup)

    assert plant.names() == ["Ada"]


@pytest.mark.parametrize("count", ["'abc'", "-5", "1.5", "9223372036854775807", "NULL"])
def test_a_counter_of_ids_that_counts_nothing_is_refused(plant: Plant, backup: Path, path: Path, count: str) -> None:
    change(backup, f"UPDATE sqlite_sequence SET seq = {count} WHERE name = 'user'")  # noqa: S608

    assert "does not tell which ids of user come next" in str(refused(backup, plant, path))


def test_a_file_of_another_application_is_refused(plant: Plant, backup: Path, path: Path) -> None:
    change(backup, "PRAGMA application_id = 77")
    assert "belongs to another application, with the application_id 77" in str(refused(backup, plant, path))

    change(path, "PRAGMA application_id = 77")
    restore(backup)
    assert plant.names() == ["Ada"]


def test_a_file_from_before_the_application_had_an_id_is_restored(plant: Plant, backup: Path, path: Path) -> None:
    change(path, "PRAGMA application_id = 77")

    restore(backup)

    assert plant.names() == ["Ada"]


def test_a_view_that_is_another_one_under_the_same_name_is_refused(plant: Plant, backup: Path, path: Path) -> None:
    change(path, "CREATE VIEW people AS SELECT name FROM user")
    change(backup, "CREATE VIEW people AS SELECT email FROM user")

    assert "view people" in str(refused(backup, plant, path))


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("ALTER TABLE user DROP COLUMN email", "user.email is missing"),
        ("ALTER TABLE user ADD COLUMN age INTEGER", "user.age is not in the model"),
        ("DROP TABLE job", "job is missing"),
        ("DROP TABLE auditlog", "auditlog is missing"),
    ],
)
def test_tables_that_are_not_what_the_models_say_are_refused(
    plant: Plant, backup: Path, path: Path, statement: str, told: str
) -> None:
    change(backup, statement)

    error = refused(backup, plant, path)

    assert error.check == "schema"
    assert f"the file is not what the models say: {told}" in str(error)
    assert "ALTER" not in str(error)


def test_a_database_of_something_else_is_refused(plant: Plant, backup: Path, path: Path, tmp_path: Path) -> None:
    file = change(tmp_path / "other.sqlite", "CREATE TABLE places (url TEXT)", "INSERT INTO places VALUES ('x')")

    assert refused(file, plant, path).check == "schema"


def test_a_schema_that_no_tool_can_read_is_refused(plant: Plant, backup: Path, path: Path) -> None:
    change(
        backup,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = 'CREATE TABLE user (' WHERE name = 'user'",
    )

    assert refused(backup, plant, path).check == "header"


def test_text_in_another_encoding_is_refused(plant: Plant, backup: Path, path: Path, tmp_path: Path) -> None:
    schema = values(backup, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'")
    file = change(tmp_path / "wide.sqlite", "PRAGMA encoding = 'UTF-16le'", *schema)

    error = refused(file, plant, path)

    assert error.check == "schema"
    assert "keeps text as UTF-16le, the database as UTF-8" in str(error)


def test_a_copy_of_the_file_of_a_running_app_without_its_log_is_refused(
    plant: Plant, backup: Path, path: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.sqlite"
    subprocess.run(["cp", path, copy], check=True)  # while all of it is in the log

    assert refused(copy, plant, path).check in {"header", "schema"}


def test_a_log_of_another_file_beside_the_backup_does_not_matter(plant: Plant, backup: Path, tmp_path: Path) -> None:
    (tmp_path / "backup.sqlite-journal").write_bytes(JUNK)
    (tmp_path / "backup.sqlite-wal").write_bytes(JUNK)

    restore(backup)

    assert plant.names() == ["Ada"]


PAGE = 4096


def flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice([1, 1, 3, 30])):
        data[chance.randrange(100, len(data))] = chance.randrange(256)


def flip_text(data: bytearray, chance: random.Random) -> None:
    places = [match.start() for match in re.finditer(b"abcd", data)]
    for place in chance.choices(places, k=5):
        data[place] = chance.choice(b"xyz\x00\xff")


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(1, len(data)) :]


def swap_pages(data: bytearray, chance: random.Random) -> None:
    first, second = (chance.randrange(len(data) // PAGE) * PAGE for _ in range(2))
    kept = data[first : first + PAGE]
    data[first : first + PAGE] = data[second : second + PAGE]
    data[second : second + PAGE] = kept


def blank(data: bytearray, chance: random.Random) -> None:
    start, length = chance.randrange(100, len(data) - PAGE), chance.choice([16, 512, PAGE])
    data[start : start + length] = bytes(length)


def break_header(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(100)] = chance.randrange(256)


def break_page(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data) // PAGE) * PAGE + chance.randrange(12)] = chance.randrange(256)


def grow(data: bytearray, chance: random.Random) -> None:
    data += chance.randbytes(chance.choice([1, 511, PAGE, 3 * PAGE]))


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Damage a database file in one of the ways that disks, transfers and attackers do."""
    result = bytearray(data)
    chance.choice([flip, flip_text, flip_text, cut, swap_pages, blank, break_header, break_page, grow])(result, chance)
    return bytes(result)


@pytest.mark.torture
def test_fuzzed_backups_are_refused_or_restored_whole(
    declared: Plant, folder: Path, path: Path, tmp_path: Path, in_full: bool
) -> None:
    bootstrap(database_url=f"sqlite:///{path}")
    declared.users.insert_many([declared.user(name=f"abcd {n}" * 20, email="abcd") for n in range(60)])
    ada = declared.add_user("Ada")
    declared.jobs.insert_many([declared.job(user_id=ada.id, note="abcd" * n) for n in range(40)])
    original, _ = backup_to(tmp_path / "original.sqlite")
    data, file = original.read_bytes(), tmp_path / "fuzzed.sqlite"
    chance = random.Random(3)  # noqa: S311 - no secret
    outcomes: Counter[str] = Counter()
    for _ in range(1500 if in_full else 60):
        file.write_bytes(damaged(data, chance))
        try:
            checked = chance.random() < 0.5
            restore(file, integrity_check=checked)
            outcomes["restored"] += 1
            if checked:  # each row can be read
                declared.users.all(include_deleted=True)
                declared.jobs.all()
                read_trail(limit=1000)
            assert values(path, "PRAGMA quick_check") == ["ok"]
            restore(original)
        except BackupInvalid as error:
            outcomes[error.check] += 1
        assert len(declared.names()) == 61
        assert left_over(folder) == []
    set_database_url("sqlite://")
    assert values(path, "PRAGMA integrity_check") == ["ok"]

    tried = outcomes.total()
    past_header = tried - outcomes["header"]
    past_quick_check = past_header - outcomes["quick_check"]
    told = f"{tried} fuzzed files, {past_header} passed the header check and {past_quick_check} the quick_check"
    print(f"{told}: {dict(outcomes)}")  # noqa: T201 - the figure
    assert past_header >= tried / 2, outcomes
    assert past_quick_check >= tried / 10, outcomes
    assert outcomes["quick_check"] > 0, outcomes
    if in_full:
        assert tried >= 1000
        assert past_header >= 500
        assert past_quick_check >= 100
