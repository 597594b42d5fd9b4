"""The servers that are compared: how each is started, and the calls that do the same work on each."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.part import CONTENT
from bench.servers.server import pocketbase, uvicorn
from bench.servers.wrk import Call
from communication.contract.descriptors import message_classes

_RECORDS = 1_000
"""How many records Get asks for in turn."""
_SERVICE = "/rpc/vention.app.v1.BenchService"
_SUPERUSER = ("bench@example.com", "only-on-loopback")
_COLLECTION = {
    "name": "parts",
    "type": "base",
    "viewRule": "",
    "createRule": "",
    "fields": [
        {"name": "name", "type": "text"},
        {"name": "supplier", "type": "text"},
        {"name": "quantity", "type": "number"},
    ],
}


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A running server, filled with records."""

    base_url: str
    """Where it listens."""
    durability: str
    """What a create leaves behind, and how safe."""
    create: Mapping[str, Call]
    """The call that creates a record, by the form of its body."""
    get: Mapping[str, list[Call]]
    """The calls that read a record, by the form of their bodies."""


@contextmanager
def product(folder: Path) -> Iterator[Contestant]:
    """The RPCs."""
    with (
        uvicorn("bench.servers.product_app:app", folder / "product.db") as base_url,
        httpx.Client(base_url=base_url) as client,
    ):
        creates, gets = f"{_SERVICE}/PartsCreateRecord", f"{_SERVICE}/PartsGetRecord"
        create = Call(path=creates, body=json.dumps({"record": CONTENT}).encode())
        keys = [_send(client, create)["record"]["id"] for _ in range(_RECORDS)]
        classes = message_classes(client.get("/rpc/app.binpb").content)
        package = "vention.app.v1"
        request = classes[f"{package}.PartsCreateRecordRequest"]
        record = classes[f"{package}.Part"](**CONTENT)
        ask = classes[f"{package}.PartsGetRecordRequest"]
        binary = "application/proto"
        yield Contestant(
            base_url=base_url,
            durability="audited, FULL",
            create={
                "JSON": create,
                "proto": Call(path=creates, content_type=binary, body=request(record=record).SerializeToString()),
            },
            get={
                "JSON": [Call(path=gets, body=json.dumps({"recordId": key}).encode()) for key in keys],
                "proto": [
                    Call(path=gets, content_type=binary, body=ask(record_id=key).SerializeToString()) for key in keys
                ],
            },
        )


@contextmanager
def route(folder: Path) -> Iterator[Contestant]:
    """The hand-written FastAPI routes."""
    with (
        uvicorn("bench.servers.route_app:app", folder / "route.db") as base_url,
        httpx.Client(base_url=base_url) as client,
    ):
        create = Call(path="/parts", body=json.dumps(CONTENT).encode())
        keys = [_send(client, create)["id"] for _ in range(_RECORDS)]
        yield Contestant(
            base_url=base_url,
            durability="not audited, FULL",
            create={"JSON": create},
            get={"JSON": [Call(method="GET", path=f"/parts/{key}") for key in keys]},
        )


@contextmanager
def pocket(folder: Path, executable: str) -> Iterator[Contestant]:
    """PocketBase with its defaults."""
    data = folder / "pocketbase"
    subprocess.run(
        [executable, "superuser", "upsert", *_SUPERUSER, "--dir", data], check=True, stdout=subprocess.DEVNULL
    )
    with pocketbase(executable, data) as base_url, httpx.Client(base_url=base_url) as client:
        login = {"identity": _SUPERUSER[0], "password": _SUPERUSER[1]}
        path = "/api/collections/_superusers/auth-with-password"
        token = _send(client, Call(path=path, body=json.dumps(login).encode()))["token"]
        make = Call(path="/api/collections", body=json.dumps(_COLLECTION).encode(), headers={"Authorization": token})
        _send(client, make)
        records = "/api/collections/parts/records"
        create = Call(path=records, body=json.dumps(CONTENT).encode())
        keys = [_send(client, create)["id"] for _ in range(_RECORDS)]
        yield Contestant(
            base_url=base_url,
            durability="not audited, NORMAL",
            create={"JSON": create},
            get={"JSON": [Call(method="GET", path=f"{records}/{key}") for key in keys]},
        )


def _send(client: httpx.Client, call: Call) -> Any:
    """Send one request; gives its answer."""
    headers = {"Content-Type": call.content_type, **call.headers}
    return client.request(call.method, call.path, content=call.body, headers=headers).raise_for_status().json()


def answer_bytes(base_url: str, call: Call) -> int:
    """How many bytes the body of an answer has."""
    headers = {"Content-Type": call.content_type, **call.headers}
    return len(httpx.request(call.method, f"{base_url}{call.path}", content=call.body, headers=headers).content)
