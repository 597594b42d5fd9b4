"""Clients that call a server of parts at once, and keep what became of each call in a ledger."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from typing import Any

from connectrpc.code import Code

from communication.client import ConnectClient
from communication.errors import RpcError
from tests.torture.ledger import Ledger
from tests.torture.program import PATIENCE

WRITES = {"insert": "PartsCreateRecord", "update": "PartsUpdateRecord", "delete": "PartsDeleteRecord"}
"""The RPC of each kind of job."""


class Clients:
    """Several clients of one server, who stop when it is gone.

    Args:
        ledger: What keeps their jobs.
        name: What their jobs are named after, so that no two are called the same.
        number: How many there are.
        reads: The part of their calls that reads, from 0 to 1.
    """

    def __init__(self, ledger: Ledger, name: str, number: int, *, reads: float = 0.0) -> None:
        self.ledger, self.durations = ledger, list[float]()
        self._answered = asyncio.Condition()
        self._names = [f"{name}-client{index}" for index in range(number)]
        self._reads, self._over = reads, False

    @contextlib.asynccontextmanager
    async def calling(self) -> AsyncIterator[None]:
        """Have them call as fast as they can until the block ends, and wait for their last answers.

        What fails in one of them fails here.
        """
        url = f"http://127.0.0.1:{self.ledger.port}"
        async with ConnectClient(url, timeout=PATIENCE) as client, asyncio.TaskGroup() as group:
            for name in self._names:
                group.create_task(self._call_on(client, name))
            try:
                yield
            finally:
                self._over = True

    async def answered(self, number: int) -> None:
        """Wait for so many answers, counted from the beginning."""
        async with asyncio.timeout(PATIENCE), self._answered:
            await self._answered.wait_for(lambda: len(self.durations) >= number)

    async def _call_on(self, client: ConnectClient, name: str) -> None:
        chance, mine, number = random.Random(name), list[int](), 0  # noqa: S311 - not for secrets
        while not self._over:
            number += 1
            started = time.monotonic()
            if chance.random() < self._reads:
                await self._read(client, chance, mine)
            elif not await self._write(client, f"{name}-{number}", chance, mine):
                return
            async with self._answered:
                self.durations.append(time.monotonic() - started)
                self._answered.notify_all()

    async def _read(self, client: ConnectClient, chance: random.Random, mine: list[int]) -> None:
        if mine and chance.random() < 0.8:
            key = chance.choice(mine)
            assert (await client.call("PartsGetRecord", {"record_id": key})).record.id == key
        else:
            assert (await client.call("PartsListRecords", {"page_size": 20})).records

    async def _write(self, client: ConnectClient, job: str, chance: random.Random, mine: list[int]) -> bool:
        """Do a job; False when the server is gone."""
        kind = chance.choice(["insert", "update", "update", "delete"]) if mine else "insert"
        body: dict[str, Any] = {"actor": job}
        if kind != "insert":
            body["record_id"] = mine[-1] if kind == "delete" else chance.choice(mine)
        if kind != "delete":
            body["record"] = {"job": job}
        self.ledger.note(f"intend {job} {kind}")
        try:
            response = await client.call(WRITES[kind], body)
        except RpcError as error:
            if error.code is not Code.UNAVAILABLE or "no server answers" not in str(error):
                raise
            return False
        self.ledger.note(f"done {job}")
        if kind == "insert":
            mine.append(response.record.id)
        elif kind == "delete":
            mine.pop()
        return True
