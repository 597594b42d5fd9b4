"""Real servers for real clients: each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
STOP_TIMEOUT = 15
"""Seconds that a server may take to shut down."""

Serve = Callable[[str, Path], str]
"""`serve("module:app", folder)` starts uvicorn in that folder and returns the server's address."""


class Server:
    """uvicorn in a process of its own, on a port that the system chose."""

    def __init__(self, app: str, folder: Path, app_dir: Path = PROJECT) -> None:
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(app_dir), "--port", "0", app]
        self.process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.log: list[str] = []
        for line in self.process.stderr:
            self.log.append(line)
            if "running on http" in line:
                self.url = line.split("running on ")[1].split()[0]
                break
        else:
            self.process.wait(STOP_TIMEOUT)
            self.process.stderr.close()
            pytest.fail(f"the server did not start:\n{''.join(self.log)}")
        self._rest = threading.Thread(target=self.log.extend, args=(self.process.stderr,))
        self._rest.start()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._rest.join()
            assert self.process.stderr is not None
            self.process.stderr.close()


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(app: str, folder: Path) -> str:
        servers.append(Server(app, folder))
        return servers[-1].url

    yield start
    for server in servers:
        server.stop()
