"""gRPC, spoken by Google's own client to a server with HTTP/2 and trailers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypercorn.asyncio import serve
from hypercorn.config import Config
from pydantic import BaseModel

from communication.app import VentionApp
from communication.context import current_call
from communication.decorators import Registry
from tests.serving import PATIENCE

SERVICE = "/vention.app.v1.CellService"


class Job(BaseModel):
    name: str
    payload: bytes = b""


class Cell:
    """An app under test, and its message classes as any protobuf library makes them."""

    def __init__(self) -> None:
        registry = Registry()

        @registry.action()
        async def echo(job: Job) -> Job:
            return job

        @registry.action()
        def who() -> str:
            return current_call().headers.get("x-user", "anonymous")

        @registry.action()
        def crash() -> None:
            raise RuntimeError("SELECT secret")

        @registry.action()
        async def hang() -> None:
            await asyncio.Event().wait()

        @registry.stream("ticks", payload=int, queue_maxsize=10, policy="fifo")
        def tick(number: int) -> int:
            return number

        self.tick = tick
        self.app = VentionApp(name="cell", registry=registry)
        self.app.finalize()
        self._pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(self.app.contract.descriptor_set).file:
            self._pool.Add(file)

    def message(self, name: str) -> Any:
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(f"vention.app.v1.{name}"))


class Caller:
    """Calls RPCs of the app over one channel."""

    def __init__(self, cell: Cell, channel: Any) -> None:
        self._cell = cell
        self._channel = channel

    def _made(self, make: Any, rpc: str, message: str, fields: dict[str, Any], options: dict[str, Any]) -> Any:
        method = make(
            f"{SERVICE}/{rpc}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=self._cell.message(f"{message}Response").FromString,
        )
        return method(self._cell.message(f"{message}Request")(**fields), **{"timeout": PATIENCE, **options})

    def call(self, rpc: str, message: str, fields: dict[str, Any] | None = None, **options: Any) -> Awaitable[Any]:
        made: Awaitable[Any] = self._made(self._channel.unary_unary, rpc, message, fields or {}, options)
        return made

    def stream(self, rpc: str, message: str) -> Any:
        return self._made(self._channel.unary_stream, rpc, message, {}, {})


@pytest.fixture
async def cell() -> Cell:
    return Cell()


@pytest.fixture
async def caller(cell: Cell) -> AsyncIterator[Caller]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.errorlog = None
    stop = asyncio.Event()
    app: Any = cell.app
    running = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await asyncio.wait_for(channel.channel_ready(), PATIENCE)
        yield Caller(cell, channel)
    stop.set()
    await asyncio.wait_for(running, PATIENCE)


async def test_a_call(caller: Caller) -> None:
    answer = await caller.call("echo", "Echo", {"name": "drill", "payload": b"\0\xff"})
    assert (answer.name, answer.payload) == ("drill", b"\0\xff")


async def test_metadata_are_headers(caller: Caller) -> None:
    assert (await caller.call("who", "Who", metadata=[("x-user", "ada")])).result == "ada"


@pytest.mark.parametrize(
    ("rpc", "message", "code", "text"),
    [
        ("crash", "Crash", grpc.StatusCode.INTERNAL, "internal error"),
        ("no", "Echo", grpc.StatusCode.UNIMPLEMENTED, "there is no such RPC"),
    ],
)
async def test_failures_have_their_status(
    caller: Caller, rpc: str, message: str, code: grpc.StatusCode, text: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await caller.call(rpc, message)
    assert caught.value.code() is code
    assert text in (caught.value.details() or "")
    assert (await caller.call("who", "Who")).result == "anonymous"


async def test_a_deadline(caller: Caller) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await caller.call("hang", "Hang", timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_stream_and_its_end_when_the_server_stops(caller: Caller, cell: Cell) -> None:
    cell.tick(1)
    ticks = caller.stream("ticks", "Ticks")
    assert (await ticks.read()).result == 1
    cell.tick(2)
    assert (await ticks.read()).result == 2
    cell.app.end_streams()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ticks.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
