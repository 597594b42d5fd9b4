"""Our Python client against a real server, and the Connect library's own."""

from __future__ import annotations

import asyncio
import dataclasses
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import pytest
from connectrpc.client import ConnectClient as OtherClient
from connectrpc.code import Code
from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.protocol import ProtocolType
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from communication.app import VentionApp
from communication.client import ConnectClient
from communication.context import current_call
from communication.decorators import Registry
from communication.entries import ActionEntry, RpcBundle
from communication.errors import FieldViolation, RpcError
from communication.service import CONTRACT_CHANGED
from tests.serving import PATIENCE, eventually, serving

SERVICE = "vention.app.v1.CellService"


class State(Enum):
    idle = "idle"
    running = "running"


class Job(BaseModel):
    name: str
    state: State = State.idle
    started_at: datetime | None = None
    payload: bytes = b""
    settings: dict[str, Any] = {}


class NotePath:
    """Middleware that notes the path of each request."""

    def __init__(self, app: ASGIApp, paths: list[str]) -> None:
        self.app = app
        self.paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.paths.append(scope["path"])
        await self.app(scope, receive, send)


class Cell:
    """An app under test, with what its tests steer."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        registry = Registry()

        @registry.action()
        async def echo(job: Job) -> Job:
            return job

        @registry.action()
        async def who() -> str:
            call = current_call()
            return f"{call.headers.get('x-user')}/{call.headers.get('x-shift')}"

        @registry.action()
        async def refuse() -> None:
            violation = FieldViolation(field="job.name", description="is taken")
            raise RpcError(Code.ALREADY_EXISTS, "no", violations=[violation])

        @registry.action()
        async def hang() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

        @registry.stream("ticks", payload=int, queue_maxsize=10, policy="fifo")
        def tick(number: int) -> int:
            return number

        self.tick = tick
        self.app = VentionApp(name="cell", registry=registry)
        self.app.finalize()
        self.paths: list[str] = []
        self.app.add_middleware(NotePath, paths=self.paths)
        (entry,) = registry.bundle().streams
        self.channel = entry.channel


@pytest.fixture
async def cell() -> Cell:
    return Cell()


@pytest.fixture
async def url(cell: Cell) -> AsyncIterator[str]:
    async with serving(cell.app) as base_url:
        yield base_url


@pytest.fixture
async def client(url: str) -> AsyncIterator[ConnectClient]:
    async with ConnectClient(url, headers={"X-User": "ada"}) as client:
        yield client


async def test_values_arrive_as_what_they_are(client: ConnectClient) -> None:
    started = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    request = {"name": "drill", "started_at": started, "payload": b"\0\xff", "settings": {"speed": [1, 2.5, None]}}
    job = await client.call("echo", request)
    assert (job.name, job.started_at, job.payload) == ("drill", started, b"\0\xff")
    assert job.settings == {"speed": [1, 2.5, None]}


async def test_a_request_may_be_an_object(client: ConnectClient) -> None:
    assert (await client.call("echo", Job(name="drill", state=State.running))).name == "drill"


async def test_headers_of_the_client_and_of_the_call(client: ConnectClient) -> None:
    assert (await client.call("who", headers={"X-Shift": "night"})).result == "ada/night"
    assert (await client.call("who", {}, headers={"X-User": "bob"})).result == "bob/None"


async def test_a_failure_arrives_with_code_and_violations(client: ConnectClient) -> None:
    with pytest.raises(RpcError) as caught:
        await client.call("refuse")
    assert (caught.value.code, caught.value.message) == (Code.ALREADY_EXISTS, "no")
    assert list(caught.value.violations) == [FieldViolation(field="job.name", description="is taken")]


async def test_a_field_that_does_not_exist_is_refused_before_sending(client: ConnectClient) -> None:
    with pytest.raises(RpcError, match="speed") as caught:
        await client.call("echo", {"name": "drill", "speed": 1})
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.violations


async def test_an_unknown_rpc_names_those_that_come_near(client: ConnectClient) -> None:
    with pytest.raises(RpcError, match=r"has no RPC ecko; it has echo$") as caught:
        await client.call("ecko")
    assert caught.value.code is Code.UNIMPLEMENTED


async def test_an_rpc_added_later_is_found(client: ConnectClient, cell: Cell) -> None:
    await client.call("who")
    cell.app.add_bundle(RpcBundle([ActionEntry("late", lambda: 7, None, int)]))
    assert (await client.call("late")).result == 7


async def test_older_spellings_are_found(client: ConnectClient, cell: Cell) -> None:
    cell.app.add_bundle(RpcBundle([ActionEntry("PickPlaceListRecords", lambda: 7, None, int)]))
    assert (await client.call("Pick_place_ListRecords", {})).result == 7


async def test_actions_are_called_and_streams_are_streamed(client: ConnectClient) -> None:
    with pytest.raises(RpcError, match=r"use client.stream\(\)"):
        await client.call("ticks")
    with pytest.raises(RpcError, match=r"use client.call\(\)"):
        await anext(client.stream("who"))


async def test_a_timeout_reaches_the_handler(client: ConnectClient, cell: Cell) -> None:
    await client.call("who")
    with pytest.raises(RpcError) as caught:
        await client.call("hang", timeout=0.1)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    await asyncio.wait_for(cell.cancelled.wait(), PATIENCE)


async def test_a_cancelled_call_is_a_cancellation(client: ConnectClient, cell: Cell) -> None:
    await client.call("who")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await client.call("hang")
    await asyncio.wait_for(cell.cancelled.wait(), PATIENCE)


async def test_a_stream_yields_until_it_is_left(client: ConnectClient, cell: Cell) -> None:
    cell.tick(1)
    received = []
    async with aclosing(client.stream("ticks")) as ticks, asyncio.timeout(PATIENCE):
        async for message in ticks:
            received.append(message.result)
            if len(received) == 3:
                break
            cell.tick(len(received) + 1)
    assert received == [1, 2, 3]
    await eventually(lambda: cell.channel.subscribers == 0)


async def test_a_stream_tells_that_the_server_stops(client: ConnectClient, cell: Cell) -> None:
    cell.tick(1)
    async with aclosing(client.stream("ticks")) as ticks, asyncio.timeout(PATIENCE):
        assert (await anext(ticks)).result == 1
        cell.app.end_streams()
        with pytest.raises(RpcError, match="server is stopping") as caught:
            await anext(ticks)
    assert caught.value.code is Code.UNAVAILABLE


async def test_many_calls_at_once_read_the_contract_once(client: ConnectClient, cell: Cell) -> None:
    answers = await asyncio.gather(*(client.call("who") for _ in range(8)))
    assert [answer.result for answer in answers] == ["ada/None"] * 8
    assert cell.paths.count("/rpc/app.binpb") == 1


@pytest.mark.parametrize("protocol", [ProtocolType.CONNECT, ProtocolType.GRPC_WEB])
@pytest.mark.parametrize("codec", [google_protobuf_binary_codec, google_protobuf_json_codec])
async def test_the_connect_librarys_client_understands_us(
    url: str, cell: Cell, protocol: ProtocolType, codec: Any
) -> None:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(cell.app.contract.descriptor_set).file:
        pool.Add(file)

    def message(name: str) -> Any:
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"vention.app.v1.{name}"))

    def method(name: str, prefix: str, kind: StreamType) -> MethodInfo[Any, Any]:
        return MethodInfo(
            name=name,
            service_name=SERVICE,
            input=message(f"{prefix}Request"),
            output=message(f"{prefix}Response"),
            idempotency_level=IdempotencyLevel.UNKNOWN,
            stream_type=kind,
        )

    other = OtherClient(url, codec=codec(), protocol=protocol)
    echo = method("echo", "Echo", StreamType.UNARY)
    answer = await other.execute_unary(request=message("EchoRequest")(name="drill", payload=b"\1"), method=echo)
    assert (answer.name, answer.payload) == ("drill", b"\1")

    refuse = method("refuse", "Refuse", StreamType.UNARY)
    with pytest.raises(ConnectError) as caught:
        await other.execute_unary(request=message("RefuseRequest")(), method=refuse)
    assert (caught.value.code, caught.value.message) == (Code.ALREADY_EXISTS, "no")

    unknown = dataclasses.replace(echo, name="no")
    with pytest.raises(ConnectError) as caught:
        await other.execute_unary(request=message("EchoRequest")(), method=unknown)
    assert caught.value.code is Code.UNIMPLEMENTED

    cell.tick(7)
    ticks: Any = other.execute_server_stream(
        request=message("TicksRequest")(), method=method("ticks", "Ticks", StreamType.SERVER_STREAM)
    )
    async with aclosing(ticks):
        assert (await asyncio.wait_for(anext(ticks), PATIENCE)).result == 7


async def test_a_client_outlives_a_restart_of_its_server(cell: Cell) -> None:
    async with serving(cell.app) as url:
        client = ConnectClient(url)
        assert (await client.call("echo", {"name": "drill"})).name == "drill"
    with pytest.raises(RpcError, match="no server answers") as caught:
        await client.call("echo", {"name": "drill"})
    assert caught.value.code is Code.UNAVAILABLE
    async with serving(cell.app, port=int(url.rpartition(":")[2])):
        assert (await client.call("echo", {"name": "drill"})).name == "drill"
    await client.close()


class Move(BaseModel):
    axis: str
    note: str = ""


class LaterMove(BaseModel):
    note: str = ""
    axis: str


def mover(move: type[BaseModel], calls: list[Any]) -> VentionApp:
    """An app whose messages have the fields of a model, numbered in its order."""
    registry = Registry()

    async def go(request: Any) -> Any:
        calls.append(request)
        return request

    @registry.stream("moves", payload=move)
    def moved(axis: str) -> Any:
        return move(axis=axis, note="done")

    app = VentionApp(name="cell", registry=registry)
    app.finalize()
    app.add_bundle(RpcBundle([ActionEntry("go", go, move, move)]))
    moved("x")
    return app


@pytest.mark.parametrize("length", [1, 3_000_000])
async def test_a_client_reads_the_contract_again_when_the_app_was_upgraded(length: int) -> None:
    calls: list[Any] = []
    note = "n" * length
    async with serving(mover(Move, calls)) as url:
        client = ConnectClient(url, timeout=PATIENCE)
        await client.call("go", {"axis": "x", "note": note})
    async with (
        serving(mover(LaterMove, calls), port=int(url.rpartition(":")[2])),
        aclosing(client.stream("moves")) as moves,
    ):
        message = await anext(moves)
        assert (message.axis, message.note) == ("x", "done")
    async with serving(mover(Move, calls), port=int(url.rpartition(":")[2])):
        answer = await client.call("go", {"axis": "x", "note": note})
    await client.close()
    assert (answer.axis, answer.note) == ("x", note)
    assert calls == [Move(axis="x", note=note)] * 2


async def test_a_refusal_that_a_handler_passed_on_is_not_tried_again() -> None:
    calls: list[None] = []

    async def relay() -> None:
        calls.append(None)
        raise RpcError(Code.FAILED_PRECONDITION, CONTRACT_CHANGED)

    app = VentionApp(name="cell", registry=Registry())
    app.finalize()
    app.add_bundle(RpcBundle([ActionEntry("relay", relay)]))
    async with serving(app) as url, ConnectClient(url) as client:
        with pytest.raises(RpcError, match=CONTRACT_CHANGED) as caught:
            await client.call("relay")
    assert caught.value.code is Code.FAILED_PRECONDITION
    assert len(calls) == 1


def test_a_client_made_without_an_event_loop_works_in_several(cell_url_in_a_thread: str) -> None:
    client = ConnectClient(cell_url_in_a_thread)
    for _ in range(2):
        assert asyncio.run(client.call("echo", {"name": "drill"})).name == "drill"


@pytest.fixture
def cell_url_in_a_thread() -> Iterator[str]:
    """The app, served on an event loop of its own."""
    ready: queue.Queue[str] = queue.Queue()
    stop = threading.Event()

    async def main() -> None:
        async with serving(Cell().app) as url:
            ready.put(url)
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    yield ready.get(timeout=PATIENCE)
    stop.set()
    thread.join(PATIENCE)
