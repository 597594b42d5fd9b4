"""Connect and gRPC-Web as they are on the wire, spoken byte by byte to a real server."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from pydantic import BaseModel

from communication.app import VentionApp
from communication.context import current_call
from communication.decorators import Registry
from tests.serving import PATIENCE, eventually, serving

SERVICE = "vention.app.v1.CellService"
CONNECT_JSON = {"content-type": "application/connect+json"}


class Move(BaseModel):
    axis: str
    distance: float = 0.0
    payload: bytes = b""


class Frame(BaseModel):
    number: int
    image: str


class Cell:
    """An app under test, with what its tests steer."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.cancelled = asyncio.Event()
        registry = Registry()

        @registry.action()
        async def move(request: Move) -> Move:
            return request

        @registry.action()
        def who() -> str:
            return current_call().headers.get("x-user", "anonymous")

        @registry.action()
        def block() -> None:
            self.release.wait(PATIENCE)

        @registry.action()
        async def hang() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

        @registry.action()
        def crash() -> None:
            raise RuntimeError("SELECT secret")

        @registry.stream("positions", payload=Move, replay=True, queue_maxsize=10, policy="fifo")
        def position(axis: str, distance: float) -> Move:
            return Move(axis=axis, distance=distance)

        @registry.stream("frames", payload=Frame)
        def frame(number: int) -> Frame:
            return Frame(number=number, image="x" * 200_000)

        self.position = position
        self.frame = frame
        self.app = VentionApp(name="cell", registry=registry)
        self.app.finalize()
        self.channel, self.frames = (entry.channel for entry in registry.bundle().streams)


@pytest.fixture
async def cell() -> Cell:
    return Cell()


@pytest.fixture
async def url(cell: Cell) -> AsyncIterator[str]:
    async with serving(cell.app) as base_url:
        yield base_url
        cell.release.set()


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{url}/rpc/{SERVICE}", timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def messages(cell: Cell) -> dict[str, Any]:
    """The message classes that any protobuf library makes of the descriptor set."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(cell.app.contract.descriptor_set).file:
        pool.Add(file)
    names = ("MoveRequest", "MoveResponse", "PositionsRequest", "PositionsResponse")
    found = {name: pool.FindMessageTypeByName(f"vention.app.v1.{name}") for name in names}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


def envelope(data: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(data)) + data


def opened(body: bytes) -> list[tuple[int, bytes]]:
    found = []
    while body:
        flags, length = struct.unpack(">BI", body[:5])
        found.append((flags, body[5 : 5 + length]))
        body = body[5 + length :]
    return found


async def test_json(http: httpx.AsyncClient) -> None:
    response = await http.post("/move", json={"axis": "x", "distance": 1.5, "payload": "AQI="})
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"axis": "x", "distance": 1.5, "payload": "AQI="}


async def test_json_with_a_charset(http: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json; charset=utf-8"}
    assert (await http.post("/move", content=b'{"axis":"x"}', headers=headers)).status_code == 200


async def test_proto(http: httpx.AsyncClient, messages: dict[str, Any]) -> None:
    request = messages["MoveRequest"](axis="x", distance=1.5, payload=b"\1\2")
    headers = {"content-type": "application/proto"}
    response = await http.post("/move", content=request.SerializeToString(), headers=headers)
    assert response.headers["content-type"] == "application/proto"
    answer = messages["MoveResponse"].FromString(response.content)
    assert (answer.axis, answer.distance, answer.payload) == ("x", 1.5, b"\1\2")


async def test_a_compressed_request_and_a_compressed_response(http: httpx.AsyncClient) -> None:
    body = gzip.compress(json.dumps({"axis": "x" * 1000}).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip", "accept-encoding": "gzip"}
    response = await http.post("/move", content=body, headers=headers)
    assert response.headers["content-encoding"] == "gzip"
    assert response.json()["axis"] == "x" * 1000


async def test_an_unknown_compression_is_refused(http: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json", "content-encoding": "snappy"}
    response = await http.post("/move", content=b"{}", headers=headers)
    assert (response.status_code, response.json()["code"]) == (501, "unimplemented")


async def test_an_unknown_field_is_refused_with_its_name(http: httpx.AsyncClient) -> None:
    response = await http.post("/move", json={"axis": "x", "speed": 1})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")
    assert "speed" in response.json()["message"]
    assert response.json()["details"][0]["type"] == "google.rpc.BadRequest"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"axis":"\\ud800"}'])
async def test_a_body_that_is_no_such_message_is_refused(http: httpx.AsyncClient, body: bytes) -> None:
    response = await http.post("/move", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")


async def test_an_unexpected_error_tells_nothing(http: httpx.AsyncClient) -> None:
    response = await http.post("/crash", json={})
    assert (response.status_code, response.json()) == (500, {"code": "internal", "message": "internal error"})


async def test_a_body_over_four_mebibytes_is_refused(http: httpx.AsyncClient) -> None:
    large = json.dumps({"axis": "x" * (4 * 1024 * 1024)}).encode()
    for body, encoding in ((large, "identity"), (gzip.compress(large), "gzip")):
        headers = {"content-type": "application/json", "content-encoding": encoding}
        response = await http.post("/move", content=body, headers=headers)
        assert (response.status_code, response.json()["code"]) == (429, "resource_exhausted")


@pytest.mark.parametrize("action", ["hang", "block"])
async def test_a_deadline_ends_the_call(http: httpx.AsyncClient, action: str) -> None:
    response = await http.post(f"/{action}", json={}, headers={"connect-timeout-ms": "50"})
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")


async def test_a_caller_that_hangs_up_cancels_its_call(http: httpx.AsyncClient, cell: Cell) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await http.post("/hang", json={}, timeout=httpx.Timeout(PATIENCE, read=0.2))
    await asyncio.wait_for(cell.cancelled.wait(), PATIENCE)


async def test_a_blocked_synchronous_handler_holds_up_nobody(http: httpx.AsyncClient, cell: Cell) -> None:
    blocked = asyncio.create_task(http.post("/block", json={}))
    assert (await http.post("/who", json={}, headers={"x-user": "ada"})).json() == {"result": "ada"}
    assert not blocked.done()
    cell.release.set()
    assert (await blocked).json() == {}


async def test_an_unknown_rpc_is_501_with_a_connect_body(http: httpx.AsyncClient, url: str) -> None:
    for path in ("/no", f"{url}/{SERVICE}/no", f"{url}/rpc/other.Service/act"):
        response = await http.post(path, json={})
        assert (response.status_code, response.json()["code"]) == (501, "unimplemented")


async def test_grpc_web(http: httpx.AsyncClient, messages: dict[str, Any]) -> None:
    request = messages["MoveRequest"](axis="x").SerializeToString()
    headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
    response = await http.post("/move", content=envelope(request), headers=headers)
    (_, message), (flags, trailers) = opened(response.content)
    assert messages["MoveResponse"].FromString(message).axis == "x"
    assert flags == 0x80
    assert b"grpc-status: 0" in trailers.replace(b":0", b": 0")


async def test_grpc_web_errors(http: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/grpc-web+proto"}
    crash = await http.post("/crash", content=envelope(b""), headers=headers)
    unknown = await http.post("/no", content=envelope(b""), headers=headers)
    assert crash.status_code == 200
    assert b"13" in crash.headers.get("grpc-status", "").encode() + crash.content
    assert (unknown.status_code, unknown.headers["grpc-status"]) == (200, "12")


async def test_a_message_over_four_mebibytes_is_refused_over_grpc_web(http: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/grpc-web+proto"}
    response = await http.post("/move", content=envelope(b"x" * (4 * 1024 * 1024 + 1)), headers=headers)
    ((flags, trailers),) = opened(response.content)
    assert flags == 0x80
    assert b"grpc-status: 8\r\n" in trailers


async def test_a_browser_may_call_from_a_page_of_this_machine(http: httpx.AsyncClient) -> None:
    headers = {
        "origin": "http://localhost:5173",
        "access-control-request-method": "POST",
        "access-control-request-headers": "connect-protocol-version,content-type",
    }
    allowed = await http.options("/move", headers=headers)
    refused = await http.options("/move", headers={**headers, "origin": "http://example.com"})
    assert allowed.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert "access-control-allow-origin" not in refused.headers


async def read(chunks: AsyncIterator[bytes]) -> Any:
    """The next message of a Connect stream in JSON, which must be all that has arrived."""
    body = b""
    async with asyncio.timeout(PATIENCE):
        while len(body) < 5 or len(body) < 5 + int.from_bytes(body[1:5]):
            body += await anext(chunks)
    ((_, data),) = opened(body)
    return json.loads(data)


async def test_a_stream_delivers_what_is_published_on_any_thread(http: httpx.AsyncClient, cell: Cell) -> None:
    cell.position("x", 1.0)
    async with http.stream("POST", "/positions", content=envelope(b"{}"), headers=CONNECT_JSON) as response:
        chunks = response.aiter_raw()
        assert (await read(chunks))["distance"] == 1.0
        await asyncio.to_thread(cell.position, "x", 2.0)
        assert (await read(chunks))["distance"] == 2.0
    await eventually(lambda: cell.channel.subscribers == 0)


async def test_a_stream_has_a_deadline(http: httpx.AsyncClient, cell: Cell) -> None:
    headers = {**CONNECT_JSON, "connect-timeout-ms": "50"}
    response = await http.post("/positions", content=envelope(b"{}"), headers=headers)
    (flags, end), *_ = opened(response.content)
    assert (flags, json.loads(end)["error"]["code"]) == (2, "deadline_exceeded")
    await eventually(lambda: cell.channel.subscribers == 0)


async def test_a_subscriber_that_vanishes_is_forgotten(http: httpx.AsyncClient, cell: Cell) -> None:
    cell.position("x", 1.0)
    async with http.stream("POST", "/positions", content=envelope(b"{}"), headers=CONNECT_JSON) as response:
        await read(response.aiter_raw())
        await eventually(lambda: cell.channel.subscribers == 1)
    await eventually(lambda: cell.channel.subscribers == 0)


async def test_a_subscriber_that_never_reads_stalls_neither_publisher_nor_others(
    http: httpx.AsyncClient, url: str, cell: Cell
) -> None:
    request = f"POST /rpc/{SERVICE}/frames HTTP/1.1\r\nhost: cell\r\ncontent-length: 7\r\n".encode()
    request += b"content-type: application/connect+json\r\n\r\n" + envelope(b"{}")
    with socket.create_connection((httpx.URL(url).host, httpx.URL(url).port)) as dead:
        dead.sendall(request)
        await eventually(lambda: cell.frames.subscribers == 1)
        # More than the buffers of both ends hold: the server cannot write to the dead one any more.
        for number in range(100):
            cell.frame(number)
            await asyncio.sleep(0)
        async with http.stream("POST", "/frames", content=envelope(b"{}"), headers=CONNECT_JSON) as response:
            chunks = response.aiter_raw()
            assert (await read(chunks))["number"] == 99
            cell.frame(100)
            assert (await read(chunks))["number"] == 100
            assert cell.frames.subscribers == 2


async def test_streams_work_behind_middleware_of_the_app(cell: Cell) -> None:
    @cell.app.middleware("http")
    async def stamp(request: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        response = await call_next(request)
        response.headers["x-stamp"] = "seen"
        return response

    cell.position("x", 1.0)
    async with serving(cell.app) as url, httpx.AsyncClient(timeout=PATIENCE) as http:
        path = f"{url}/{SERVICE}/positions"
        async with http.stream("POST", path, content=envelope(b"{}"), headers=CONNECT_JSON) as response:
            assert response.headers["x-stamp"] == "seen"
            assert (await read(response.aiter_raw()))["distance"] == 1.0
            assert cell.channel.subscribers == 1
        await eventually(lambda: cell.channel.subscribers == 0)
