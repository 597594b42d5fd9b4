"""64 clients of one server, reading and writing: no error, and neither its memory nor its log grows without end."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

import pytest

from storage.dialects.sqlite_driver import LOG_LIMIT
from tests.torture.clients import Clients
from tests.torture.ledger import Ledger
from tests.torture.program import Program
from tests.torture.workshop import prepare_file

pytestmark = pytest.mark.torture

CLIENTS = 64
READS = 0.6
GROWTH = 64 * 2**20
"""Bytes that the server may grow by once it is warm, caches of SQLite's connections included."""


def memory_of(pid: int) -> int:
    """The resident memory of a process in bytes."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("/proc is needed to see the memory of another process")
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


async def test_64_clients_get_answers_and_the_server_stays_small(tmp_path: Path, in_full: bool) -> None:
    seconds = 60.0 if in_full else 3.0
    file, log, ledger = tmp_path / "parts.db", tmp_path / "parts.db-wal", Ledger()
    prepare_file(f"sqlite:///{file}")
    largest_log = 0
    with Program(ledger, "tests.torture.server", f"sqlite:///{file}") as server:
        server.listen_for("port", 1)
        clients = Clients(ledger, "load", CLIENTS, reads=READS)
        async with clients.calling():
            await asyncio.sleep(seconds / 6)  # to get warm
            warm, answered, started = memory_of(server.pid), len(clients.durations), time.monotonic()
            while time.monotonic() - started < seconds:
                await asyncio.sleep(0.05)
                largest_log = max(largest_log, log.stat().st_size)
            rate = (len(clients.durations) - answered) / (time.monotonic() - started)
            grown = memory_of(server.pid) - warm
    ledger.check(file)
    cuts = statistics.quantiles(clients.durations[answered:], n=100)
    print(  # noqa: T201 - the figures
        f"{rate:.0f} answers/s, {len(ledger.done)} writes; p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms; "
        f"memory {warm / 2**20:.0f} MiB warm, {grown / 2**20:+.1f} MiB after; log at most {largest_log / 2**20:.1f} MiB"
    )
    assert grown < GROWTH
    assert largest_log < 2 * LOG_LIMIT
