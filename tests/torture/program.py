"""A program under test, in a process of its own, whose lines a ledger keeps."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.torture.ledger import Ledger

PATIENCE = 60.0
"""Seconds after which a program that says nothing more is stuck."""
PROJECT = Path(__file__).resolve().parents[2]


class Program:
    """A running program; leaving the block kills it.

    Args:
        ledger: What keeps its lines.
        arguments: The module, and what it is called with.
        environment: What it finds in its environment besides.
    """

    def __init__(self, ledger: Ledger, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self._ledger = ledger
        self._rest = b""
        self._over = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=PROJECT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def listen(self) -> list[str]:
        """The events of the lines that have come since, none or more."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            pytest.fail(f"the program is stuck: for {PATIENCE:g} s nothing came of {sorted(self._ledger.pending)}")
        said = os.read(self._process.stdout.fileno(), 2**16)
        self._over = not said
        *lines, self._rest = (self._rest + said).split(b"\n")
        return [self._ledger.note(line.decode()) for line in lines]

    def listen_until(self, enough: Callable[[], bool]) -> None:
        """Listen until a condition holds, which what is told brings about."""
        until = time.monotonic() + PATIENCE
        while not enough():
            self._listen_on()
            assert time.monotonic() < until, "what the test waits for does not come"

    def listen_for(self, event: str, count: int) -> None:
        """Listen until an event has come so many times."""
        seen = 0
        while seen < count:
            seen += self._listen_on().count(event)

    def listen_for_seconds(self, seconds: float) -> None:
        """Listen for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._listen_on()

    def kill(self) -> None:
        """Kill it with SIGKILL, and keep what it said until then."""
        self._process.kill()
        self.end()

    def end(self) -> int:
        """Ask it to end, keep what it says until then, and give its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        while not self._over:
            self.listen()
        self._process.stdout.close()
        return self._process.wait(PATIENCE)

    def _listen_on(self) -> list[str]:
        events = self.listen()
        assert not self._over, f"the program has ended, with {self._process.wait(PATIENCE)}"
        return events
