"""docs/reference/rpcs.md and settings.md say what the code does."""

from __future__ import annotations

import os
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from connectrpc.code import Code
from pydantic import create_model
from sqlmodel import Field, SQLModel

from communication.app import VentionApp
from communication.contract.contract import Contract
from communication.contract.markers import Int64
from communication.contract.wire_types import type_text
from communication.decorators import Registry
from communication.entries import ActionEntry, RpcBundle
from communication.errors import RpcError
from storage import database, errors
from storage.accessor import ModelAccessor
from storage.rpc.entries import record_entries
from storage.rpc.errors import told_to_caller
from storage.vention_communication import build_storage_bundle

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
FIELD = re.compile(r"`(\w+)`")
TYPES = {"Int64": Int64, "Any": Any, "datetime": datetime, "timedelta": timedelta, "Decimal": Decimal, "UUID": UUID}
TYPES |= {"date": date, "time": time} | {item.__name__: item for item in (bool, int, float, str, bytes, dict)}


def table(page: str, first: str) -> list[list[str]]:
    """The rows of the table whose first column has that title."""
    text = (REFERENCE / page).read_text(encoding="utf-8").partition(f"| {first} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


@pytest.mark.usefixtures("fresh_declarations")
def test_the_rpcs_of_an_accessor() -> None:
    class Axis(SQLModel, table=True):
        id: int | None = Field(default=None, primary_key=True)

    rpcs = Contract.build("cell", record_entries(ModelAccessor(Axis, "axes"), None)).rpcs
    real = [
        (rpc.name, *([field.name for field in side.fields] for side in (rpc.request, rpc.response))) for rpc in rpcs
    ]
    told = [
        (f"Axes{rpc.strip('`')}", *(FIELD.findall(side) for side in sides)) for rpc, *sides in table("rpcs.md", "RPC")
    ]
    assert told == real


def test_the_rpcs_of_the_database() -> None:
    contract = Contract.build("cell", build_storage_bundle(accessors=[]).actions)
    real = [
        (rpc.name, *([field.name for field in side.fields] for side in (rpc.request, rpc.response)))
        for rpc in contract.rpcs
    ]
    told = [(rpc.strip("`"), *(FIELD.findall(side) for side in sides)) for rpc, *sides in table("rpcs.md", "Action")]
    assert told == real
    for message, fields in table("rpcs.md", "Message"):
        assert FIELD.findall(fields) == [field.name for field in contract.messages[message.strip("`")].fields]


def test_the_types() -> None:
    rows = table("rpcs.md", "Python")
    model = create_model("All", **{f"f{index}": (TYPES[name.strip("`")], ...) for index, (name, *_) in enumerate(rows)})  # type: ignore[call-overload]
    fields = Contract.build("cell", [ActionEntry("Do", repr, model)]).rpcs[0].request.fields
    assert [row[1].strip("`") for row in rows] == [type_text(field) for field in fields]


def test_the_codes_of_storages_errors() -> None:
    told = {name: row[0].strip("`") for row in table("rpcs.md", "Code") for name in re.findall(r"`([A-Z]\w+)`", row[2])}
    told.pop("ValueError")
    made = {
        "RecordInvalid": errors.RecordInvalid("Job", []),
        "BackupInvalid": errors.BackupInvalid("no", check="header"),
    }
    for name, code in told.items():
        error = made.get(name) or getattr(errors, name)("no")
        with pytest.raises(RpcError) as caught, told_to_caller():
            raise error
        assert caught.value.code.value == code


async def test_the_http_status_of_each_code() -> None:
    def fail(code: str) -> None:
        raise RpcError(Code(code), "no")

    app = VentionApp(registry=Registry())
    app.add_bundle(RpcBundle([ActionEntry("fail", fail, str)]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cell") as client:
        for code, status, _ in table("rpcs.md", "Code"):
            response = await client.post("/rpc/vention.app.v1.VentionAppService/fail", json={"code": code.strip("`")})
            assert (response.status_code, response.json()["code"]) == (int(status), code.strip("`"))


def test_the_environment_variables() -> None:
    told = {row[0].strip("`"): row[1].strip("`") for row in table("settings.md", "Variable")}
    assert told == {
        database.URL_VARIABLE: database.DEFAULT_URL,
        database.BUSY_TIMEOUT_VARIABLE: f"{database.DEFAULT_BUSY_TIMEOUT:g}",
    }
    used = {
        name
        for path in REFERENCE.parents[1].joinpath("src").rglob("*.py")
        for name in re.findall(r'"(VENTION_\w+)"', path.read_text("utf-8"))
    }
    assert used == set(told)
    assert not any(name in os.environ for name in told)
