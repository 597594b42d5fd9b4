"""Requests that nobody means: whatever is sent, the answer is not `internal`, and the service goes on."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from typing import Any

import pytest
from google.protobuf import json_format

from tests.integration.storage_rpc.cell import Caller, Cell

VERBS = ("ListRecords", "GetRecord", "CreateRecord", "UpdateRecord", "DeleteRecord", "RestoreRecord")
EXPECTED = {
    "ok",
    "invalid_argument",
    "not_found",
    "already_exists",
    "failed_precondition",
}
ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    -0.0,
    2**31,
    2**53 + 1,
    2**63,
    10**40,
    "",
    "0",
    "\0",
    "\U0001f600",
    "x" * 3000,
    "SHIFT_EARLY",
    "2024-02-29T12:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "1.5s",
    "AQID",
    "NaN",
    [],
    {},
    [None],
    {"": {}},
    {"id": 1},
)
KEYS: dict[str, tuple[Any, ...]] = {
    "Formulas": ("", "a", "b"),
    "TestFixtures": ("6fa459ea-ee8a-3ca4-894e-db77e160355e", "7fa459ea-ee8a-3ca4-894e-db77e160355e"),
}
RECORDS: dict[str, dict[str, Any]] = {
    "People": {"name": "Ada", "badge": "A1", "level": 3},
    "Errands": {"title": "box", "personId": 1, "count": 2},
    "Formulas": {"code": "a", "grams": 1.5},
    "TestFixtures": {"label": "x"},
    "Meters": {"total": "5"},
    "Samples": {
        "small": 1,
        "big": "5",
        "ratio": 1.5,
        "flag": True,
        "text": "x",
        "data": "AQ==",
        "price": "1.5",
        "at": "2024-01-01T00:00:00Z",
        "day": "2024-01-01",
        "clock": "12:00:00",
        "span": "1.5s",
        "shift": "SHIFT_EARLY",
        "settings": {"x": [1, {"y": None}]},
        "points": [1, [2]],
        "gripper": {"vacuum": True, "force": 2.5, "shift": "SHIFT_EARLY"},
        "anything": 5,
    },
}


class Fuzzer:
    """Makes requests that are good but for a few changes; the same seed makes the same ones."""

    def __init__(self, call: Caller, seed: int) -> None:
        self._call = call
        self._random = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret

    def request(self) -> tuple[str, str, bytes]:
        """An RPC, a codec and a body."""
        component, verb = self._random.choice(list(RECORDS)), self._random.choice(VERBS)
        body = self._good(component, verb)
        if self._random.random() < 0.5:
            for _ in range(self._random.randrange(3)):
                self._change(body)
            return f"{component}{verb}", "json", self._damaged(json.dumps(body).encode())
        name = f"{component}{verb}Request"
        message = json_format.ParseDict(body, self._call.message(name))
        return f"{component}{verb}", "proto", self._damaged(message.SerializeToString())

    def _good(self, component: str, verb: str) -> dict[str, Any]:
        if verb == "ListRecords":
            return {"pageSize": self._random.randrange(4), "includeDeleted": True}
        key = self._random.choice(KEYS.get(component, (1, 2, 3)))
        body: dict[str, Any] = {} if verb == "CreateRecord" else {"recordId": key}
        if verb in ("CreateRecord", "UpdateRecord"):
            record = RECORDS[component]
            names = [name for name in record if self._random.random() < 0.7 or name in ("name", "title", "code")]
            body["record"] = json.loads(json.dumps({name: record[name] for name in names}))
        if verb == "CreateRecord" and component in KEYS:
            body["record"]["code" if component == "Formulas" else "id"] = key
        if verb == "UpdateRecord":
            body["record"].pop("code", None)
            if self._random.random() < 0.3:
                body["updateMask"] = list(body["record"])
        return body

    def _change(self, value: Any) -> None:
        """Change one thing, somewhere inside."""
        if isinstance(value, dict):
            key = self._random.choice([*value, "nope", "id", "actor"])
            inner = value.get(key)
            if isinstance(inner, dict | list) and self._random.random() < 0.8:
                self._change(inner)
            elif self._random.random() < 0.2:
                value.pop(key, None)
            else:
                value[key] = copy.deepcopy(self._random.choice(ODD))
        else:
            value.insert(self._random.randrange(len(value) + 1), copy.deepcopy(self._random.choice(ODD)))

    def _damaged(self, data: bytes) -> bytes:
        """The bytes, some of them lost, changed or added in one of three cases."""
        damaged = bytearray(data)
        for _ in range(self._random.choice([0, 0, 0, 0, 1, 2])):
            match self._random.randrange(4):
                case 0:
                    del damaged[self._random.randrange(len(damaged) + 1) :]
                case 1 if damaged:
                    damaged[self._random.randrange(len(damaged))] = self._random.randrange(256)
                case 2 if damaged:
                    start = self._random.randrange(len(damaged))
                    damaged[start:start] = damaged[: self._random.randrange(20)]
                case _:
                    damaged += self._random.choice([b"}", b"\0", b"\xff", b'"', b",", b"["])
        return bytes(damaged)


async def fuzz(cell: Cell, seed: int, count: int) -> None:
    fuzzer, codes = Fuzzer(cell.call, seed), Counter[str]()
    for number in range(count):
        rpc, codec, body = fuzzer.request()
        response = await cell.call.post(rpc, body, codec)
        code = "ok" if response.status_code == 200 else response.json()["code"]
        assert code in EXPECTED, (seed, number, rpc, codec, body, response.content)
        codes[code] += 1
    assert codes["ok"] > count / 5, codes  # else it tests nothing behind the codec
    assert codes["invalid_argument"] > count / 5, codes
    for component in RECORDS:  # what was kept can be read
        assert (await cell.call(f"{component}ListRecords", {"includeDeleted": True})).status == 200
    answer = await cell.call("FormulasCreateRecord", {"record": {"code": f"still here after {seed}"}})
    assert answer.status == 200


@pytest.mark.torture
async def test_no_request_is_an_internal_error(cell: Cell, in_full: bool) -> None:
    for seed in range(1, 6) if in_full else (1,):
        await fuzz(cell, seed, count=2000 if in_full else 500)
