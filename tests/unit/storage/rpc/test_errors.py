"""What storage's errors become on the wire, and what stays inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from connectrpc.code import Code

from communication.errors import FieldViolation, RpcError
from storage.errors import (
    CommitUncertain,
    ConfigurationError,
    ConstraintViolation,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseUnavailable,
    DuplicateRecord,
    ForeignKeyViolation,
    Problem,
    RecordDeleted,
    RecordInvalid,
    RecordLimitReached,
    SchemaMismatch,
    StorageError,
    WriteWouldDeadlock,
)
from storage.hooks import HookEvent, HookRegistry
from storage.rpc.errors import told_to_caller


def invalid() -> RecordInvalid:
    return RecordInvalid("Job", [Problem(field="name", message="is required"), Problem(field="", message="is odd")])


def told(raising: Callable[[], Any]) -> RpcError:
    with pytest.raises(RpcError) as caught, told_to_caller(lambda name: f"record.{name}".removesuffix(".")):
        raising()
    return caught.value


def raising(error: Exception) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


def in_hook(error: Exception) -> Callable[[], Any]:
    registry: HookRegistry[Any] = HookRegistry()
    registry.add(HookEvent.BEFORE_INSERT, lambda session, instance: raising(error)())
    session: Any = None
    return lambda: registry.run(HookEvent.BEFORE_INSERT, session, None)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (invalid(), Code.INVALID_ARGUMENT),
        (RecordDeleted("gone"), Code.NOT_FOUND),
        (CommitUncertain("lost"), Code.UNKNOWN),
        (DuplicateRecord("twice"), Code.ALREADY_EXISTS),
        (ForeignKeyViolation("nowhere"), Code.FAILED_PRECONDITION),
        (ConstraintViolation("CHECK (x > 0)"), Code.FAILED_PRECONDITION),
        (RecordLimitReached("full"), Code.RESOURCE_EXHAUSTED),
        (ConfigurationError("no such table: user"), Code.FAILED_PRECONDITION),
        (SchemaMismatch("ALTER TABLE"), Code.FAILED_PRECONDITION),
        (DatabaseUnavailable("no disk"), Code.UNAVAILABLE),
        (DatabaseDamaged("CREATE TABLE"), Code.DATA_LOSS),
        (DatabaseBusy("thread 7 waits"), Code.UNAVAILABLE),
        (WriteWouldDeadlock("thread 7 waits"), Code.UNAVAILABLE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_its_code(error: StorageError, code: Code) -> None:
    assert told(raising(error)).code is code
    assert told(in_hook(error)).code is code


def test_what_is_invalid_or_taken_is_named_by_its_path() -> None:
    assert told(raising(invalid())).violations == (
        FieldViolation(field="record.name", description="is required"),
        FieldViolation(field="record", description="is odd"),
    )
    taken = told(raising(DuplicateRecord("twice", columns=["badge"])))
    assert taken.violations == (FieldViolation(field="record.badge", description="is taken by another record"),)


def test_what_a_hook_wrote_is_no_field_of_the_request() -> None:
    assert told(in_hook(invalid())).violations == ()
    assert told(in_hook(DuplicateRecord("twice", columns=["badge"]))).violations == ()


@pytest.mark.parametrize(
    "error",
    [ConstraintViolation("CHECK (x)"), DatabaseBusy("thread 7"), DatabaseDamaged("CHECK"), SchemaMismatch("CHECK")],
)
def test_sql_and_threads_are_not_told(error: StorageError) -> None:
    text = told(raising(error)).message
    assert "CHECK" not in text
    assert "thread" not in text


def test_who_waits_in_vain_is_told_of_an_import() -> None:
    busy = DatabaseBusy("waited 5 s for a write, because an import is under way", task="an import")
    assert told(raising(busy)).message == "the database is busy with an import; try again later"


def test_what_to_do_about_damage_is_told() -> None:
    error = DatabaseDamaged("malformed database schema (CHECK)", hint="stop the app")
    assert told(raising(error)).message == "the database is damaged; stop the app"


def test_a_hooks_value_error_is_told() -> None:
    error = told(in_hook(ValueError("Invalid email")))
    assert (error.code, error.message, error.violations) == (Code.INVALID_ARGUMENT, "Invalid email", ())


@pytest.mark.parametrize("error", [StorageError("x"), ValueError("a stored value"), KeyError()])
def test_anything_else_passes_to_be_answered_as_internal(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, told_to_caller():
        raise error
    assert caught.value is error


def test_any_other_error_of_a_hook_passes() -> None:
    with pytest.raises(KeyError), told_to_caller():
        in_hook(KeyError("x"))()
