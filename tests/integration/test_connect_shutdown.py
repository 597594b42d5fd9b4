"""A server that is told to stop stops, also while clients read streams."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from communication.client import ConnectClient
from communication.errors import RpcError
from tests.serving import PATIENCE

APP = """
from communication.app import VentionApp
from communication.decorators import stream

@stream("ticks", payload=int)
def tick(number: int) -> int:
    return number

tick(1)
app = VentionApp(name="cell")
"""


@pytest.fixture
async def server(tmp_path: Path, project: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`uvicorn main:app` in a process of its own, and its base URL."""
    (tmp_path / "main.py").write_text(APP)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        os.set_inheritable(listener.fileno(), True)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "uvicorn", "main:app", "--fd", str(listener.fileno())),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{project / 'src'}{os.pathsep}{tmp_path}"},
            pass_fds=[listener.fileno()],
            stderr=asyncio.subprocess.PIPE,
        )
        yield process, f"http://127.0.0.1:{listener.getsockname()[1]}"
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_signal_ends_open_streams_and_then_the_server(
    server: tuple[asyncio.subprocess.Process, str], number: signal.Signals
) -> None:
    process, url = server
    async with asyncio.timeout(3 * PATIENCE), ConnectClient(url) as client:
        ticks = client.stream("ticks")
        assert (await anext(ticks)).result == 1
        process.send_signal(number)
        with pytest.raises(RpcError, match="server is stopping"):
            await anext(ticks)
        _, log = await process.communicate()
    assert b"Traceback" not in log.replace(b"KeyboardInterrupt", b"")
    assert b"Application shutdown complete" in log
