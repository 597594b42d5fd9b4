"""A real server around an app, on a free port of the loopback interface."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvicorn

from communication.app import VentionApp

PATIENCE = 10.0
"""How long a test waits for what must happen, in seconds, before it fails."""


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until the condition holds; fail when it does not in time."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 # what is waited for is inside the code under test
            await asyncio.sleep(0.005)


class _Server(uvicorn.Server):
    """Ends when it is told to; uvicorn looks ten times a second, which hundreds of tests would wait for."""

    async def main_loop(self) -> None:
        await self.on_tick(0)
        while not self.should_exit:  # noqa: ASYNC110 - it is a flag, which signals set too
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(app: VentionApp, port: int = 0) -> AsyncIterator[str]:
    """Serve the app with uvicorn on the running event loop, on a free port unless told which; gives its base URL."""
    # Unless the socket says that it is TCP, asyncio leaves Nagle's algorithm on, and each answer takes 40 ms longer.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    server = _Server(uvicorn.Config(app, log_level="warning", ws="none"))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await eventually(lambda: server.started or running.done())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        app.end_streams()
        server.should_exit = True
        await asyncio.wait_for(running, PATIENCE)
        listener.close()
