"""An app that serves the parts: `server <url>`; tells its port once it can be called, and runs until it is killed."""

from __future__ import annotations

import socket
import sys
from typing import Any

import uvicorn

from communication.app import VentionApp
from storage.accessor import ModelAccessor
from storage.vention_communication import build_storage_bundle
from tests.torture.workshop import Workshop, open_file, tell


def main(url: str) -> None:
    open_file(url)
    workshop = Workshop()
    app = VentionApp(name="torture")
    accessors: list[ModelAccessor[Any]] = [workshop.parts, workshop.receipts]
    app.add_bundle(build_storage_bundle(accessors=accessors, max_records_per_model=None))
    app.finalize()
    listener = socket.create_server(("127.0.0.1", 0), backlog=200)
    tell(f"port {listener.getsockname()[1]}")
    uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none")).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1])
