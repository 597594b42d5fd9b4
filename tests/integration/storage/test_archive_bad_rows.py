"""Bad rows: each is reported with its place, and nothing is imported."""

from __future__ import annotations

import pytest
from sqlmodel import Session

from storage.errors import ArchiveInvalid
from storage.transfer import archive_report
from storage.transfer.archive_import import import_archive
from tests.integration.storage.archives import (
    GOOD,
    Accessors,
    changed,
    exported,
    recipes_with,
)
from tests.integration.storage.conftest import Audit
from tests.integration.storage.models import Recipe


def test_every_bad_row_is_reported_with_its_place_and_nothing_is_imported(accessors: Accessors, audit: Audit) -> None:
    archive = recipes_with(
        accessors,
        GOOD,
        ["2", "two\r\nlines", "fast", "{", ""],
        ["3", "n" * 41, "1.0", "", ""],
        ["3", "again", "1.0", "", ""],
        ["x", "no key", "1.0", "", ""],
        ["4", "", "", "", ""],
        ["5", "short"],
        ["6", "naive", "1.0", "", "2026-01-01T00:00:00"],
    )

    report = import_archive(archive, accessors.values(), dry_run=True)

    assert not report.ok
    assert report.complete
    assert [(item.file, item.line, item.column) for item in report.problems] == [
        ("recipe.csv", 3, "speed"),
        ("recipe.csv", 3, "settings"),
        ("recipe.csv", 5, "name"),
        ("recipe.csv", 6, "id"),
        ("recipe.csv", 7, "id"),
        ("recipe.csv", 8, "name"),
        ("recipe.csv", 8, "speed"),
        ("recipe.csv", 9, None),
        ("recipe.csv", 10, "deleted_at"),
    ]
    with pytest.raises(ArchiveInvalid, match=r"recipe\.csv line 3: speed must be a number") as caught:
        import_archive(archive, accessors.values())
    assert caught.value.problems == report.problems
    assert accessors["recipe"].all() == []
    assert audit() == []


def test_an_empty_key_is_a_new_record(accessors: Accessors) -> None:
    import_archive(recipes_with(accessors, GOOD, ["", "new", "1.0", "", ""]), accessors.values())
    assert [(record.id, record.name) for record in accessors["recipe"].all()] == [(1, "good"), (2, "new")]


def test_the_report_ends_where_there_are_too_many_bad_rows(
    accessors: Accessors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_report, "MOST_PROBLEMS", 3)
    rows = [[str(number), "n", "fast", "", ""] for number in range(1, 9)]
    report = import_archive(recipes_with(accessors, *rows), accessors.values(), dry_run=True)
    assert (len(report.problems), report.complete) == (3, False)
    with pytest.raises(ArchiveInvalid, match="more than 3"):
        import_archive(recipes_with(accessors, *rows), accessors.values())


def test_a_hook_that_refuses_makes_a_bad_row(accessors: Accessors) -> None:
    @accessors["recipe"].before_insert()
    def refuse(session: Session, instance: Recipe) -> None:
        if instance.name == "bad":
            raise ValueError("bad is no name")

    archive = recipes_with(accessors, GOOD, ["2", "bad", "1.0", "", ""])
    report = import_archive(archive, accessors.values(), dry_run=True)
    assert [(item.line, item.column, item.message) for item in report.problems] == [(3, None, "bad is no name")]


def test_a_broken_constraint_is_told_without_sql(accessors: Accessors) -> None:
    archive = changed(exported(accessors), "bin.csv", lambda _: [["1", "A1", "-1"]])
    report = import_archive(archive, accessors.values(), dry_run=True)
    assert [item.message for item in report.problems] == ["would break a constraint of the table"]


def test_a_hook_that_fails_ends_the_import(accessors: Accessors) -> None:
    @accessors["recipe"].before_insert()
    def fail(session: Session, instance: Recipe) -> None:
        raise OSError("no network")

    with pytest.raises(OSError, match="no network"):
        import_archive(recipes_with(accessors, GOOD), accessors.values())
    assert accessors["recipe"].all() == []
