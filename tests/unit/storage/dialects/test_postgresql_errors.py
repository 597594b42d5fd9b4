"""What PostgreSQL's errors mean."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import exc

from storage.dialects.postgresql_errors import code_of, is_lost, meaning_of
from storage.errors import (
    ConfigurationError,
    ConstraintViolation,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseUnavailable,
    DuplicateRecord,
    ForeignKeyViolation,
)

psycopg: Any = pytest.importorskip("psycopg")


class Diagnosis:
    def __init__(self, detail: str | None) -> None:
        self.message_detail = detail
        self.table_name = "bin"


def error_of(code: str, detail: str | None = None) -> Any:
    class Failed(psycopg.errors.lookup(code)):  # type: ignore[misc]
        @property
        def diag(self) -> Diagnosis:
            return Diagnosis(detail)

    return Failed("secret SQL")


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        ("23503", ForeignKeyViolation, "reference"),
        ("23514", ConstraintViolation, "constraint"),
        ("23502", ConstraintViolation, "constraint"),
        ("42P01", ConfigurationError, "bootstrap()"),
        ("42703", ConfigurationError, "bootstrap()"),
        ("55P03", DatabaseBusy, "VENTION_STORAGE_BUSY_TIMEOUT"),
        ("40001", DatabaseBusy, "try the whole transaction again"),
        ("40P01", DatabaseBusy, "same order"),
        ("25P02", DatabaseUnavailable, "rolled the transaction back"),
        ("54000", ConstraintViolation, "too long for an index"),
        ("XX001", DatabaseDamaged, "what pg_dump wrote"),
        ("XX002", DatabaseDamaged, "what pg_dump wrote"),
        ("25006", DatabaseUnavailable, "its log"),
        ("53100", DatabaseUnavailable, "its log"),
        ("57P03", DatabaseUnavailable, "its log"),
        ("57P01", DatabaseUnavailable, "ended the connection"),
        ("08006", DatabaseUnavailable, "ended the connection"),
    ],
)
def test_the_server_says_a_code(code: str, kind: type[Exception], text: str) -> None:
    for error in (error_of(code), exc.DBAPIError("SELECT secret", None, error_of(code))):
        meaning = meaning_of(error)
        assert type(meaning) is kind
        assert text in str(meaning)
        assert "secret" not in str(meaning)


@pytest.mark.parametrize(
    ("detail", "columns"),
    [
        ("Key (code)=(A1) already exists.", ("code",)),
        ("Key (code, shelf_id)=(A1, 2) already exists.", ("code", "shelf_id")),
        ('Key ("plcID", "a ""b"" c", name)=(a, b, c) already exists.', ("plcID", 'a "b" c', "name")),
        ("Schlüssel »(code)=(A1)« existiert bereits.", ("code",)),
        ("Key (lower(code::text))=(a1) already exists.", ()),
        (None, ()),
    ],
)
def test_a_duplicate_names_its_columns(detail: str | None, columns: tuple[str, ...]) -> None:
    meaning = meaning_of(error_of("23505", detail))
    assert isinstance(meaning, DuplicateRecord)
    assert meaning.columns == columns


def test_a_lost_connection_has_no_code() -> None:
    for error in (psycopg.OperationalError("gone"), psycopg.InterfaceError("closed")):
        assert (code_of(error), is_lost(error)) == ("", True)
        assert type(meaning_of(error)) is DatabaseUnavailable


def test_what_is_no_error_of_the_server_has_no_meaning() -> None:
    for error in (ValueError(), psycopg.DataError("NUL"), psycopg.ProgrammingError("no such"), error_of("22012")):
        assert meaning_of(error) is None
        assert not is_lost(error)


def test_errors_about_connections() -> None:
    assert type(meaning_of(exc.TimeoutError("QueuePool"))) is DatabaseBusy
    assert type(meaning_of(exc.PendingRollbackError("gone", code="8s2b"))) is DatabaseUnavailable
    assert meaning_of(exc.PendingRollbackError("a flush failed", code="7s2a")) is None


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        ('Key (shelf_id)=(7) is not present in table "shelf".', "shelf_id refers to a record of shelf that does not"),
        ('Key (id)=(7) is still referenced from table "bin".', "records of bin still refer to this one"),
        (
            'Key (shelf_id)=(x still referenced) is not present in table "shelf".',
            "shelf_id refers to a record of shelf",
        ),
        ('Key (shelf_id)=(in table "x) is not present in table "shelf".', "shelf_id refers to a record of shelf that"),
        ("Der Schlüssel (shelf_id)=(7) fehlt.", "a reference points to a record that does not exist"),
    ],
)
def test_a_broken_reference_is_named_whatever_the_value_says(detail: str, text: str) -> None:
    assert str(meaning_of(error_of("23503", detail))).startswith(text)
