"""Runs README.md and docs/ as tests: each document is one program, whose blocks run in order and share their names.

`python` blocks run as they stand, with `await` allowed at the top. In `console` blocks each line that starts with "$ "
runs in a shell, and must print what follows it ("..." stands for anything). A block that the reader should not see
goes into an HTML comment: `<!--- invisible-code-block: python`. `serve(app)` serves an app on 127.0.0.1:8000, where the
examples expect it, until the document ends; `start("hypercorn", …)` does it with another server. `project` is the root
of the source tree.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import inspect
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn
from sybil import Example, Sybil
from sybil.evaluators.python import pad
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from tests.isolation import fresh_registries

PROJECT = Path(__file__).resolve().parent
COMMAND_TIMEOUT = 60
"""Seconds that one command of a console block may take."""
STOP_TIMEOUT = 2
"""Seconds that an app waits for its open streams when the document ends."""


class Program:
    """One document as it runs: where, on which event loop, with which servers."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(contextlib.chdir(self._stack.enter_context(tempfile.TemporaryDirectory())))
        self._stack.enter_context(fresh_registries())
        self._runner = self._stack.enter_context(asyncio.Runner())

    def close(self) -> None:
        self._stack.close()

    def run(self, source: str, path: str, namespace: dict[str, Any]) -> None:
        """Run one block of Python; a coroutine where it awaits."""
        code = compile(source, path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        result = eval(code, namespace)  # noqa: S307 - running the documentation is the purpose
        if inspect.iscoroutine(result):
            self._runner.run(result)

    def serve(self, app: Any, port: int = 8000) -> None:
        """Serve an app from a thread until the document ends; it accepts connections at once."""
        listener = self._stack.enter_context(socket.create_server(("127.0.0.1", port)))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=STOP_TIMEOUT))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(setattr, server, "should_exit", True)

    def start(self, *command: str, port: int = 8000) -> None:
        """Run a server in a process of its own until the document ends; it accepts connections at once."""
        process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
        self._stack.callback(process.wait, COMMAND_TIMEOUT)
        self._stack.callback(process.terminate)
        deadline = time.monotonic() + COMMAND_TIMEOUT
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                return
            time.sleep(0.05)
        raise RuntimeError(f"{command[0]} did not start")


def environment() -> dict[str, str]:
    """The environment of a command, which finds the pinned tools first."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


COUNT = itertools.count()


def start(namespace: dict[str, Any]) -> None:
    program = Program()
    # A name of its own for each, so that the ORM tells the models of one from those of the others.
    namespace.update(__name__=f"documentation_{next(COUNT)}", program=program, project=PROJECT)
    namespace.update(serve=program.serve, start=program.start)


def stop(namespace: dict[str, Any]) -> None:
    program = namespace["program"]
    namespace.clear()
    program.close()


def evaluate_python(example: Example) -> None:
    source = pad(example.parsed, example.line + example.parsed.line_offset)
    example.namespace["program"].run(source, example.path, example.namespace)


def evaluate_console(example: Example) -> None:
    for session in str(example.parsed).removeprefix("$ ").split("\n$ "):
        command, _, expected = session.partition("\n")
        while command.endswith("\\"):
            line, _, expected = expected.partition("\n")
            command = f"{command}\n{line}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
        printed, wanted = done.stdout.rstrip("\n"), expected.rstrip("\n")
        if not doctest.OutputChecker().check_output(wanted, printed, doctest.ELLIPSIS):
            message = f"$ {command}\nshould print:\n{wanted}\nbut printed:\n{printed}"
            raise AssertionError(message)


pytest_collect_file = Sybil(
    parsers=[
        CodeBlockParser("python", evaluate_python),
        CodeBlockParser("console", evaluate_console),
        SkipParser(),
    ],
    patterns=["README.md", "docs/*.md", "docs/*/*.md"],
    setup=start,
    teardown=stop,
).pytest()
