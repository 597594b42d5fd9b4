"""The machine: what the figures of one run were measured on."""

from __future__ import annotations

import os
import platform
import re
import time
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from bench.sample import of_times
from storage.dialects.sqlite_driver import DRIVER

_SYNCS = 300


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Hardware and versions."""

    cpu: str
    """The processor's name."""
    cores: int
    """How many of its cores this process may use."""
    load: float
    """How many processes wanted to run in the minute before."""
    fdatasync_p50: float | None
    """Half of the small writes were on the disk after this; milliseconds."""
    fdatasync_p99: float | None
    """99 of 100 small writes were on the disk after this; milliseconds."""
    system: str
    """The operating system."""
    python: str
    """The version of Python."""
    sqlite: str
    """The version of SQLite that the driver brings."""
    server: str
    """What serves HTTP to the Python apps."""


def describe(directory: Path) -> Machine:
    """Look at the machine, and at the disk of a folder."""
    sync = of_times(_sync_times(directory / "sync"), 1.0)
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load=round(os.getloadavg()[0], 2),
        fdatasync_p50=sync.p50,
        fdatasync_p99=sync.p99,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        sqlite=DRIVER.sqlite_version,
        server=f"uvicorn {version('uvicorn')} with {_first('httptools', 'h11')} and {_first('uvloop', 'asyncio')}",
    )


def _first(wanted: str, otherwise: str) -> str:
    """What uvicorn takes: the faster one where it is installed."""
    return wanted if find_spec(wanted) else otherwise


def _cpu() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _sync_times(path: Path) -> list[float]:
    """The time of each of many small appends to a file, until it is on the disk; seconds."""
    sync = getattr(os, "fdatasync", os.fsync)
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(b"\0" * 4096)
            started = time.perf_counter()
            sync(file.fileno())
            times.append(time.perf_counter() - started)
    path.unlink()
    return times
