"""What the client makes of names, answers and failures, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from connectrpc.code import Code

from communication.client import ConnectClient
from communication.errors import RpcError


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
