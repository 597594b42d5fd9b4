"""What goes wrong, and what the caller is told: the right code, each field by name, and nothing of our inside."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from storage.accessor import ModelAccessor
from storage.database import set_database_url
from tests.integration.storage_rpc.cell import Answer, Caller, Cell, app_of, running_cell, served, stranger
from tests.integration.storage_rpc.models import Errand, Person

INSIDE = re.compile(
    r"(?i)traceback|sqlalchemy|pydantic|sqlite|psycopg|select |insert |update |\.py|/tmp|/home|secret|garbage"
)
MEBIBYTE = 1024 * 1024


def leaks_nothing(answer: Answer) -> None:
    assert not INSIDE.search(json.dumps(answer.body)), answer.body


async def goes_on(cell: Cell) -> None:
    """The service still reads and writes."""
    before = len(cell.people.all())
    assert (await cell.call("PeopleCreateRecord", {"record": {"name": "still here"}})).status == 200
    assert len((await cell.call("PeopleListRecords")).body["records"]) == before + 1


# Bad input

GOOD_RECORDS: dict[str, Any] = {"People": {"name": "Ada"}, "Errands": {"title": "box"}, "Meters": {}, "Samples": {}}
BAD_RECORDS: list[tuple[str, Any, str]] = [
    ("People", {"name": "Ada", "nope": 1}, "record.nope"),
    ("People", {"name": 5}, "record.name"),
    ("People", {"name": "x" * 21}, "record.name"),
    ("People", {"name": ["x"]}, "record.name"),
    ("People", {"name": "a\0b"}, "record.name"),
    ("People", {"name": "Ada", "level": 2**31}, "record.level"),
    ("People", {"name": "Ada", "level": -(2**31) - 1}, "record.level"),
    ("People", {"name": "Ada", "level": 1.5}, "record.level"),
    ("People", {"name": "Ada", "level": "one"}, "record.level"),
    ("People", {"name": "Ada", "level": True}, "record.level"),
    ("Errands", {"title": "box", "count": -1}, "record.count"),
    ("Errands", {"title": "box", "personId": 1, "person_id": 1}, "record.person_id"),
    ("Meters", {"total": 2**63}, "record.total"),
    ("Meters", {"total": str(-(2**63) - 1)}, "record.total"),
    ("Samples", {"small": 2**15}, "record.small"),
    ("Samples", {"integer": -(2**31) - 1}, "record.integer"),
    ("Samples", {"ratio": "NaN"}, "record.ratio"),
    ("Samples", {"ratio": "-Infinity"}, "record.ratio"),
    ("Samples", {"ratio": "1e999"}, "record.ratio"),
    ("Samples", {"ratio": 2**53 + 1}, "record.ratio"),
    ("Samples", {"flag": 1}, "record.flag"),
    ("Samples", {"short": "123456"}, "record.short"),
    ("Samples", {"data": "%%%"}, "record.data"),
    ("Samples", {"price": "1.2345"}, "record.price"),
    ("Samples", {"price": "1234567890123.5"}, "record.price"),
    ("Samples", {"price": 1.5}, "record.price"),
    ("Samples", {"exact": "NaN"}, "record.exact"),
    ("Samples", {"at": "2024-01-01T00:00:00"}, "record.at"),
    ("Samples", {"at": "0000-01-01T00:00:00Z"}, "record.at"),
    ("Samples", {"at": "0001-01-01T00:00:00+01:00"}, "record.at"),
    ("Samples", {"at": "10000-01-01T00:00:00Z"}, "record.at"),
    ("Samples", {"at": "2024-01-01T00:00:00.0000001Z"}, "record.at"),
    ("Samples", {"day": "2024-02-30"}, "record.day"),
    ("Samples", {"clock": "12:00:00Z"}, "record.clock"),
    ("Samples", {"span": "1"}, "record.span"),
    ("Samples", {"span": "315576000000s"}, "record.span"),
    ("Samples", {"token": "x"}, "record.token"),
    ("Samples", {"shift": "SHIFT_UNSPECIFIED"}, "record.shift"),
    ("Samples", {"shift": "early"}, "record.shift"),
    ("Samples", {"shift": 0}, "record.shift"),
    ("Samples", {"shift": 99}, "record.shift"),
    ("Samples", {"settings": {"axes": [1, {"x": 2**53}]}}, "record.settings.axes[1].x"),
    ("Samples", {"settings": {"x": "a\0b"}}, "record.settings.x"),
    ("Samples", {"settings": []}, "record.settings"),
    ("Samples", {"points": {}}, "record.points"),
    ("Samples", {"gripper": {"vacuum": True, "force": "strong"}}, "record.gripper.force"),
    ("Samples", {"gripper": {"vacuum": True, "nope": 1}}, "record.gripper.nope"),
    ("Samples", {"gripper": {"vacuum": True, "force": "NaN"}}, "record.gripper.force"),
    ("Samples", {"gripper": []}, "record.gripper"),
]


async def test_a_bad_field_is_named_and_nothing_is_written(cell: Cell) -> None:
    for component, record in GOOD_RECORDS.items():
        assert (await cell.call(f"{component}CreateRecord", {"record": record})).status == 200
    written = len(cell.trail("people")), len(cell.trail("samples"))
    for component, record, field in BAD_RECORDS:
        for rpc, key in ((f"{component}CreateRecord", {}), (f"{component}UpdateRecord", {"recordId": 1})):
            answer = await cell.call(rpc, {"record": record, **key})
            assert answer.error == (400, "invalid_argument"), (rpc, record, answer.body)
            assert list(answer.violations) == [field], (rpc, record, answer.body)
            leaks_nothing(answer)
    assert (len(cell.trail("people")), len(cell.trail("samples"))) == written
    await goes_on(cell)


async def test_every_bad_field_is_named(call: Caller) -> None:
    record = {"small": 2**15, "ratio": "NaN", "short": "123456", "at": "2024"}
    answer = await call("SamplesCreateRecord", {"record": record, "actors": "x"})
    assert {"actors", "record.at"} <= set(answer.violations)
    answer = await call("SamplesCreateRecord", {"record": {"small": 2**15, "ratio": "NaN"}})
    assert set(answer.violations) == {"record.small", "record.ratio"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"record":{"name":"\\ud800"}}',
        b'{"record":{"name":"\xed\xa0\x80"}}',
        b'{"record":{"level":NaN}}',
        b'{"record":{"name":"a","name":"b"}}',
        b'{"record":' * 5000,
        b'{"record":{"anything":' + b"[" * 50_000 + b"]" * 50_000 + b"}}",
        b'{"record":{"anything":' + b'{"x":' * 40 + b"1" + b"}" * 40 + b"}}",
        b'{"record":{"ratio":' + b"9" * 100_000 + b"}}",
    ],
)
async def test_broken_json_is_an_invalid_argument(cell: Cell, body: bytes) -> None:
    for rpc in ("PeopleCreateRecord", "SamplesCreateRecord", "SamplesUpdateRecord"):
        answer = await cell.call(rpc, body)
        assert answer.error == (400, "invalid_argument")
        leaks_nothing(answer)
    await goes_on(cell)


async def test_broken_protobuf_is_an_invalid_argument(cell: Cell) -> None:
    good = cell.call.message("PeopleCreateRecordRequest", record=cell.call.message("Person", name="Ada", level=5))
    data = good.SerializeToString()
    for body in (b"\xff", data[:-1], b"\x0a\x02\x12\xff", b"\x0a\x04\x12\x02\xff\xfe"):
        answer = await cell.call.proto("PeopleCreateRecord", body)
        assert answer.error == (400, "invalid_argument")
        leaks_nothing(answer)
    await goes_on(cell)


async def test_an_enum_number_that_nobody_knows_is_refused_in_protobuf(call: Caller) -> None:
    for number in (0, 99, -1):
        record = call.message("Sample", shift=number)
        answer = await call.proto("SamplesCreateRecord", call.message("SamplesCreateRecordRequest", record=record))
        assert answer.error == (400, "invalid_argument")
        assert list(answer.violations) == ["record.shift"]


async def test_a_body_over_four_mebibytes_is_refused_and_one_below_is_not(cell: Cell) -> None:
    def body(size: int) -> bytes:
        return json.dumps({"record": {"text": "x" * size}}).encode()

    for size in (4 * MEBIBYTE, 10 * MEBIBYTE):
        assert (await cell.call("SamplesCreateRecord", body(size))).error == (429, "resource_exhausted")
    assert (await cell.call("SamplesCreateRecord", body(4 * MEBIBYTE - 100))).status == 200
    await goes_on(cell)


# Constraints


async def test_a_duplicate_names_the_field_that_is_taken(call: Caller) -> None:
    await call("PeopleCreateRecord", {"record": {"name": "Ada", "badge": "A1"}})
    await call("PeopleCreateRecord", {"record": {"name": "Bob"}})
    created = await call("PeopleCreateRecord", {"record": {"name": "Eve", "badge": "A1"}})
    updated = await call("PeopleUpdateRecord", {"recordId": 2, "record": {"badge": "A1"}})
    for answer in (created, updated):
        assert answer.error == (409, "already_exists")
        assert answer.violations == {"record.badge": "is taken by another record"}
        leaks_nothing(answer)


async def test_a_reference_to_nowhere_is_a_failed_precondition(cell: Cell) -> None:
    await cell.call("ErrandsCreateRecord", {"record": {"title": "box"}})
    created = await cell.call("ErrandsCreateRecord", {"record": {"title": "box", "personId": 9}})
    updated = await cell.call("ErrandsUpdateRecord", {"recordId": 1, "record": {"personId": 9}})
    for answer in (created, updated):
        assert answer.error == (400, "failed_precondition")
        leaks_nothing(answer)
    assert [entry.operation for entry in cell.trail("errands")] == ["create"]


# Hooks

WRITES: list[tuple[str, Any]] = [
    ("PeopleCreateRecord", {"record": {"name": "Bob"}}),
    ("PeopleUpdateRecord", {"recordId": 1, "record": {"name": "Eve"}}),
    ("PeopleDeleteRecord", {"recordId": 1}),
    ("PeopleRestoreRecord", {"recordId": 2}),
]


@pytest.fixture
async def hooked(cell: Cell) -> Callable[[BaseException | None], None]:
    """Person 1 is active, 2 is deleted; gives what makes every hook raise from now on."""
    raised: list[BaseException] = []

    def fail(session: Any, instance: Any) -> None:
        if raised:
            raise raised[0]

    for hook in (cell.people.before_insert, cell.people.after_update, cell.people.after_delete):
        hook()(fail)
    for name in ("Ada", "Gus"):
        await cell.call("PeopleCreateRecord", {"record": {"name": name}})
    await cell.call("PeopleDeleteRecord", {"recordId": 2})

    def set_error(error: BaseException | None) -> None:
        raised[:] = [] if error is None else [error]

    return set_error


async def test_a_hooks_value_error_is_an_invalid_argument_with_its_text(
    cell: Cell, hooked: Callable[[BaseException | None], None]
) -> None:
    written = len(cell.trail("people"))
    hooked(ValueError("Invalid email"))
    for rpc, body in WRITES:
        answer = await cell.call(rpc, body)
        assert answer.error == (400, "invalid_argument")
        assert answer.body == {"code": "invalid_argument", "message": "Invalid email"}
    assert len(cell.trail("people")) == written
    hooked(ValueError("no \ud800"))
    assert (await cell.call(*WRITES[0])).body == {"code": "invalid_argument", "message": "no ?"}
    hooked(None)
    await goes_on(cell)


class SecretError(Exception):
    """What no caller knows."""


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("INSERT INTO secret VALUES (1) at /home/secret/main.py"),
        SecretError("secret"),
        KeyError("secret"),
        AssertionError("secret"),
        StopIteration("secret"),
        RecursionError("secret"),
        TimeoutError("secret"),
        OSError(2, "secret", "/secret"),
        SystemExit("secret"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_any_other_error_of_a_hook_is_internal_and_leaks_nothing(
    cell: Cell, hooked: Callable[[BaseException | None], None], error: BaseException
) -> None:
    written = len(cell.trail("people"))
    hooked(error)
    for rpc, body in WRITES:
        answer = await cell.call(rpc, body)
        assert answer.error == (500, "internal")
        assert answer.body == {"code": "internal", "message": "internal error"}
    assert len(cell.trail("people")) == written
    hooked(None)
    await goes_on(cell)


async def test_a_hook_that_writes_an_invalid_record_of_another_model_names_no_field_of_this_one(cell: Cell) -> None:
    @cell.people.after_insert()
    def note(session: Any, instance: Any) -> None:
        cell.errands.insert(Errand(title="greet", count=-1))

    answer = await cell.call("PeopleCreateRecord", {"record": {"name": "Ada"}})
    assert answer.error == (400, "invalid_argument")
    assert "details" not in answer.body
    assert cell.people.all() == []


# The database


LOCKS = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "BEGIN; LOCK TABLE person IN EXCLUSIVE MODE"}
GARBAGE = {
    "sqlite": dict.fromkeys(("at", "day", "clock", "span", "shift", "token", "settings", "gripper"), "'garbage'"),
    "postgresql": {"gripper": """'"garbage"'"""},  # which keeps anything else out
}


async def test_a_database_that_another_process_keeps_locked_is_unavailable(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENTION_STORAGE_BUSY_TIMEOUT", "0.1")
    async with running_cell(url) as cell:
        await cell.call("PeopleCreateRecord", {"record": {"name": "Ada"}})
        with stranger(url) as rival:
            rival.exec_driver_sql(LOCKS[rival.dialect.name])
            for rpc, body in WRITES:
                answer = await cell.call(rpc, body)
                assert answer.error == (503, "unavailable")
                leaks_nothing(answer)
            assert (await cell.call("PeopleGetRecord", {"recordId": 1})).status == 200
            rival.exec_driver_sql("ROLLBACK")
        await goes_on(cell)


async def test_a_database_that_cannot_be_written_or_opened_is_unavailable(cell: Cell, url: str) -> None:
    await cell.call("PeopleCreateRecord", {"record": {"name": "Ada"}})
    set_database_url(read_only(url))
    for rpc, body in WRITES[:3]:
        answer = await cell.call(rpc, body)
        assert answer.error == (503, "unavailable")
        leaks_nothing(answer)
    assert (await cell.call("PeopleGetRecord", {"recordId": 1})).status == 200
    set_database_url(nowhere(url))
    for rpc, body in [*WRITES, ("PeopleListRecords", {}), ("PeopleGetRecord", {"recordId": 1})]:
        answer = await cell.call(rpc, body)
        assert answer.error == (503, "unavailable")
        leaks_nothing(answer)
    set_database_url(url)
    await goes_on(cell)


def read_only(url: str) -> str:
    if url.startswith("sqlite"):
        return f"sqlite:///file:{make_url(url).database}?mode=ro&uri=true"
    read_only = {"options": "-c default_transaction_read_only=on"}
    return make_url(url).update_query_dict(read_only).render_as_string(hide_password=False)


def nowhere(url: str) -> str:
    database = "/no/secret.db" if url.startswith("sqlite") else "secret"
    return make_url(url).set(database=database).render_as_string(hide_password=False)


async def test_a_row_that_cannot_be_read_is_internal_and_leaks_nothing(cell: Cell, url: str) -> None:
    await cell.call("SamplesCreateRecord", {"record": {"text": "x"}})
    with stranger(url) as intruder:
        for column, garbage in GARBAGE[intruder.dialect.name].items():
            intruder.exec_driver_sql(f"UPDATE sample SET {column} = {garbage}")  # noqa: S608 - names of our own
            for rpc, body in (
                ("SamplesListRecords", {}),
                ("SamplesGetRecord", {"recordId": 1}),
                ("SamplesUpdateRecord", {"recordId": 1, "record": {"text": "y"}}),
                ("SamplesDeleteRecord", {"recordId": 1}),
            ):
                answer = await cell.call(rpc, body)
                assert answer.error == (500, "internal"), (column, rpc, answer.body)
                leaks_nothing(answer)
            intruder.exec_driver_sql(f"UPDATE sample SET {column} = NULL")  # noqa: S608 - as above
    assert (await cell.call("SamplesListRecords")).status == 200


async def test_a_table_that_is_gone_is_the_servers_to_mend_and_leaks_nothing(cell: Cell, url: str) -> None:
    with stranger(url) as intruder:
        intruder.exec_driver_sql("DROP TABLE errand")
    for rpc, body in (
        ("ListRecords", {}),
        ("GetRecord", {"recordId": 1}),
        ("CreateRecord", {"record": {"title": "x"}}),
    ):
        answer = await cell.call(f"Errands{rpc}", body)
        assert answer.error == (400, "failed_precondition")
        leaks_nothing(answer)
    await goes_on(cell)


# The record limit


async def test_the_limit_counts_the_active_records(url: str) -> None:
    async with running_cell(url, limit=2) as cell:
        for name in ("Ada", "Bob"):
            assert (await cell.call("PeopleCreateRecord", {"record": {"name": name}})).status == 200
        full = await cell.call("PeopleCreateRecord", {"record": {"name": "Eve"}})
        assert full.error == (429, "resource_exhausted")
        assert (await cell.call("PeopleUpdateRecord", {"recordId": 1, "record": {"name": "Eve"}})).status == 200
        await cell.call("PeopleDeleteRecord", {"recordId": 1})
        assert (await cell.call("PeopleCreateRecord", {"record": {"name": "Gus"}})).status == 200
        assert (await cell.call("PeopleRestoreRecord", {"recordId": 1})).error == (429, "resource_exhausted")
        assert (await cell.call("PeopleRestoreRecord", {"recordId": 2})).status == 200
        assert [person.name for person in cell.people.all()] == ["Bob", "Gus"]
        operations = [entry.operation for entry in cell.trail("people")]
        assert operations == ["create", "create", "update", "soft_delete", "create"]
        # Each table has a limit of its own.
        assert (await cell.call("ErrandsCreateRecord", {"record": {"title": "x"}})).status == 200


async def test_a_limit_of_none_and_of_zero(cell: Cell) -> None:
    for number in range(7):
        assert (await cell.call("FormulasCreateRecord", {"record": {"code": f"f{number}"}})).status == 200
    async with served(app_of(cell.formulas, limit=0)) as (_, call):
        assert (await call("FormulasCreateRecord", {"record": {"code": "x"}})).error == (429, "resource_exhausted")


@pytest.mark.parametrize(
    "rpc", ["PeopleGet", "PeopleUpdate", "PeopleDelete", "PeopleRestore", "FormulasGet", "MetersGet"]
)
async def test_a_forgotten_record_id_is_named(cell: Cell, rpc: str) -> None:
    answer = await cell.call(f"{rpc}Record", {"record": {}} if rpc == "PeopleUpdate" else {})

    assert answer.error == (400, "invalid_argument")
    shown = "''" if rpc == "FormulasGet" else "0"
    assert answer.violations == {"record_id": f"is missing, or {shown}, which no record has"}


async def test_a_record_whose_key_is_zero_is_found(cell: Cell) -> None:
    cell.people.insert(Person(id=0, name="Zoe"))

    assert (await cell.call("PeopleGetRecord", {"recordId": 0})).record["name"] == "Zoe"


@pytest.mark.parametrize("rpc", ["PeopleListRecords", "PeopleGetRecord", "PeopleCreateRecord", "DatabaseReadAudit"])
async def test_a_forgotten_bootstrap_is_the_servers_to_mend(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rpc: str
) -> None:
    set_database_url(f"sqlite:///{tmp_path}/empty.db")
    async with served(app_of(ModelAccessor(Person, "people"))) as (_, call):
        answer = await call(
            rpc, {"record": {"name": "Ada"}} if "Create" in rpc else {"recordId": 1} if "Get" in rpc else {}
        )

    assert answer.error == (400, "failed_precondition")
    assert "bootstrap()" in answer.body["message"]
    leaks_nothing(answer)
    assert "no such table" in caplog.text
