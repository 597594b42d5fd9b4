"""The record limit is exact, whoever writes at the same time: two server processes on one database."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from tests.integration.storage_rpc.cell import stranger

LIMIT = 20
CREATES = 64
PATIENCE = 60
# What a server process does; it tells its port once it accepts connections, and ends with its input.
PROGRAM = f"""
import socket, sys, threading
from datetime import datetime
from typing import Optional
import uvicorn
from sqlmodel import Field, SQLModel
from communication.app import VentionApp
from storage.accessor import ModelAccessor
from storage.bootstrap import bootstrap
from storage.vention_communication import build_storage_bundle

class Pallet(SQLModel, table=True):
    id: Optional[int] = Field(default=None, primary_key=True)
    name: str
    deleted_at: Optional[datetime] = None

bootstrap(database_url=sys.argv[1])
app = VentionApp(name="cell")
app.add_bundle(build_storage_bundle(accessors=[ModelAccessor(Pallet, "pallets")], max_records_per_model={LIMIT}))
app.finalize()
listener = socket.create_server(("127.0.0.1", 0), backlog=200)
server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
threading.Thread(target=lambda: (sys.stdin.read(), setattr(server, "should_exit", True)), daemon=True).start()
print(listener.getsockname()[1], flush=True)
server.run(sockets=[listener])
"""


@pytest.fixture
async def servers(url: str) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Clients of two processes that serve the same database."""
    processes = [
        subprocess.Popen(  # noqa: ASYNC220 - it only starts them
            [sys.executable, "-c", PROGRAM, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        async with AsyncExitStack() as stack:
            clients = []
            for process in processes:
                assert process.stdout is not None
                port = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), PATIENCE)
                base = f"http://127.0.0.1:{int(port)}/rpc/vention.app.v1.CellService"
                limits = httpx.Limits(max_connections=None)
                clients.append(
                    await stack.enter_async_context(httpx.AsyncClient(base_url=base, timeout=60, limits=limits))
                )
            yield clients
    finally:
        for process in processes:
            process.communicate(timeout=PATIENCE)


async def race(servers: list[httpx.AsyncClient], calls: list[tuple[str, Any]]) -> Counter[str]:
    """Make all calls at once, by turns at each server; count what they answer."""
    answers = await asyncio.gather(
        *(servers[number % len(servers)].post(rpc, json=body) for number, (rpc, body) in enumerate(calls))
    )
    return Counter("ok" if answer.status_code == 200 else answer.json()["code"] for answer in answers)


def rows(url: str, condition: str) -> int:
    with stranger(url) as database:
        return int(database.exec_driver_sql(f"SELECT count(*) FROM {condition}").scalar_one())  # noqa: S608 - of the test


async def test_creates_and_restores_of_two_processes_never_pass_the_limit(
    servers: list[httpx.AsyncClient], url: str
) -> None:
    creates = [("/PalletsCreateRecord", {"record": {"name": f"p{number}"}}) for number in range(CREATES)]
    assert await race(servers, creates) == {"ok": LIMIT, "resource_exhausted": CREATES - LIMIT}
    assert rows(url, "pallet") == LIMIT
    assert rows(url, "auditlog") == LIMIT

    listed = (await servers[0].post("/PalletsListRecords", json={})).json()["records"]
    keys = [record["id"] for record in listed[: LIMIT // 2]]
    deletes = [("/PalletsDeleteRecord", {"recordId": key}) for key in keys]
    assert await race(servers, deletes) == {"ok": len(keys)}

    restores = [("/PalletsRestoreRecord", {"recordId": key}) for key in keys]
    mixed = [call for pair in zip(restores, creates, strict=False) for call in pair]
    assert await race(servers, mixed) == {"ok": LIMIT // 2, "resource_exhausted": len(mixed) - LIMIT // 2}
    assert rows(url, "pallet WHERE deleted_at IS NULL") == LIMIT
    assert rows(url, "auditlog") == LIMIT + LIMIT // 2 + LIMIT // 2
