"""A server in a process of its own, on a free port of the loopback interface."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_PATIENCE = 20.0
"""Seconds that a server may take to start or to stop."""


@contextmanager
def uvicorn(app: str, database: Path) -> Iterator[str]:
    """Serve an app in one process, without an access log; gives its base URL.

    Args:
        app: Where the app is, as uvicorn takes it.
        database: Its database file.
    """
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level", "warning", "--no-access-log"]
    url = {"VENTION_STORAGE_DATABASE_URL": f"sqlite:///{database}"}
    with _running(command, port, {**os.environ, **url}, database.with_suffix(".log")) as base_url:
        yield base_url


@contextmanager
def pocketbase(executable: str, folder: Path) -> Iterator[str]:
    """Serve PocketBase; gives its base URL.

    Args:
        executable: The program.
        folder: Its data folder, with a superuser.
    """
    port = _free_port()
    command = [executable, "serve", "--http", f"127.0.0.1:{port}", "--dir", str(folder)]
    with _running(command, port, os.environ, folder.with_suffix(".log")) as base_url:
        yield base_url


@contextmanager
def _running(command: Sequence[str], port: int, environment: Mapping[str, str], log: Path) -> Iterator[str]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _PATIENCE
        while not _accepts(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command)} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
        process.kill()
        process.wait()


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
