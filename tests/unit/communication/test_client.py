"""What the client makes of names, answers and failures, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from connectrpc.code import Code
from google.protobuf import descriptor_pb2

from communication.client import ConnectClient
from communication.errors import CommunicationError, RpcError
from communication.naming import PACKAGE, PROTO_FILE
from tests.serving import PATIENCE


@asynccontextmanager
async def serving(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server that does what it likes with each connection; gives its URL."""
    connections: list[asyncio.Task[None]] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.create_task(connected(reader, writer)))

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await asyncio.gather(*connections)


async def test_a_server_that_is_not_there_is_unavailable_with_a_hint() -> None:
    async with ConnectClient("http://127.0.0.1:1/") as client:
        with pytest.raises(RpcError, match=r"no server answers at http://127.0.0.1:1; start it") as caught:
            await client.call("ping")
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_server_that_never_answers_is_given_up_after_the_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as url, ConnectClient(url, timeout=0.05) as client:
        with pytest.raises(RpcError, match="did not answer within") as caught:
            await client.call("ping")
    assert caught.value.code is Code.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "answered with HTTP status 404"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "is not the contract of an app"),
        (b"nonsense\r\n\r\n", "no server answers"),
    ],
)
async def test_a_server_that_is_no_app_is_unavailable(answer: bytes, text: str) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with serving(other) as url, ConnectClient(url, timeout=5) as client:
        with pytest.raises(RpcError, match=text) as caught:
            await client.call("ping")
    assert caught.value.code is Code.UNAVAILABLE


def saying(
    answer: bytes, heard: list[bytes]
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """What answers each request with the same bytes, and notes the requests."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()

    return handle


async def test_the_timeout_of_a_call_bounds_reading_the_contract() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as url, asyncio.timeout(PATIENCE), ConnectClient(url) as client:
        patient = asyncio.create_task(client.call("ping"))
        for answer in (client.call("ping", timeout=0.05), anext(client.stream("ping", timeout=0.05))):
            with pytest.raises(RpcError, match=r"did not answer within 0.05 s") as caught:
                await answer
            assert caught.value.code is Code.DEADLINE_EXCEEDED
        patient.cancel()
        await asyncio.gather(patient, return_exceptions=True)


@pytest.mark.parametrize(("status", "code"), [(401, Code.UNAUTHENTICATED), (403, Code.PERMISSION_DENIED)])
async def test_an_app_that_wants_other_headers_says_so(status: int, code: Code) -> None:
    heard: list[bytes] = []
    answer = f"HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n".encode()
    async with serving(saying(answer, heard)) as url, ConnectClient(url, timeout=PATIENCE) as client:
        with pytest.raises(RpcError, match=f"HTTP status {status}; send the headers that the app wants") as caught:
            await client.call("ping", headers={"X-Token": "s3cret"})
    assert caught.value.code is code
    assert b"x-token: s3cret" in heard[0].lower()


async def test_a_contract_that_this_client_is_too_old_for_says_so() -> None:
    whole = descriptor_pb2.FileDescriptorSet()
    file = whole.file.add(name=PROTO_FILE, package=PACKAGE)
    file.service.add(name="CellService")
    field = descriptor_pb2.FieldDescriptorProto
    file.message_type.add(name="Odd").field.add(name="odd", number=1, type=field.TYPE_GROUP)
    body = whole.SerializeToString()
    answer = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    async with serving(saying(answer, [])) as url, ConnectClient(url, timeout=PATIENCE) as client:
        with pytest.raises(RpcError, match="is not the contract of an app; update this client"):
            await client.call("ping")


@pytest.mark.parametrize("base_url", ["localhost:8000", "cell.local", "ws://cell.local", ""])
def test_an_address_that_is_no_http_url_is_refused_at_once(base_url: str) -> None:
    with pytest.raises(CommunicationError, match="is no HTTP address; write http://"):
        ConnectClient(base_url)


@pytest.mark.parametrize("end", ["/rpc", "/rpc/", "/"])
async def test_an_address_may_end_with_rpc(end: str) -> None:
    heard: list[bytes] = []
    missing = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
    async with serving(saying(missing, heard)) as url, ConnectClient(url + end, timeout=PATIENCE) as client:
        with pytest.raises(RpcError):
            await client.call("ping")
    assert heard[0].startswith(b"GET /rpc/app.binpb ")
