"""A wire between storage and its PostgreSQL server, which can be cut at a chosen moment."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

_SOCKET = ".s.PGSQL.5432"  # https://www.postgresql.org/docs/current/runtime-config-connection.html


class Wire:
    """Passes on what both say until the client says a certain word.

    Args:
        folder: Where clients find its socket.
        server: Where it finds that of the server.
    """

    def __init__(self, folder: Path, server: Path) -> None:
        self.cuts = 0
        self._server = server / _SOCKET
        self._before = self._after = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / _SOCKET))
        self._listener.listen()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_before(self, word: bytes) -> None:
        """Cut the connection on which the word is said next; the server never hears it."""
        self._before = word

    def cut_after(self, word: bytes) -> None:
        """Cut the connection on which the word is said next, before the server's answer is heard."""
        self._after = word

    def close(self) -> None:
        """Cut everything."""
        for end in [self._listener, *self._open]:
            _close(end)

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                self._open += [client, server]
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        last = threading.Event()
        threading.Thread(target=self._answer, args=(client, server, last), daemon=True).start()
        with suppress(OSError):
            while data := client.recv(1 << 16):
                if self._before and self._before in data:
                    self._before = b""
                    self.cuts += 1
                    break
                if self._after and self._after in data:
                    self._after = b""
                    last.set()
                server.sendall(data)
        _close(client)
        _close(server)

    def _answer(self, client: socket.socket, server: socket.socket, last: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if last.is_set():
                    self.cuts += 1
                    break
                client.sendall(data)
        _close(client)
        _close(server)


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)  # which wakes whoever waits for it
    end.close()
