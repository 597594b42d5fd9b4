"""Acknowledged writes of many writers, next to a transaction each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.figure import Figure, compare
from bench.plan import Plan
from bench.sample import Sample
from bench.skipped import Skipped

_SOURCE = Path(__file__).resolve().parents[1] / "slow_sync.c"
_COUNTS = (1, 4, 16, 64)
_LONGEST = 300
_CROWD = 64


def measure(plan: Plan) -> Iterator[Figure | Skipped]:
    """Measure on the disk as it is, and on one that is 5 ms slower."""
    yield from _on_disk(plan, "as it is", _COUNTS, dict(os.environ))
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        yield Skipped("writes on a slowed disk: they need Linux and a C compiler (cc), as in Debian's package gcc")
        return
    library = plan.directory / "slow_sync.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, _SOURCE, "-ldl"], check=True)
    yield from _on_disk(plan, "slowed by 5 ms", (1, 16, 64), {**os.environ, "LD_PRELOAD": str(library)})


def _on_disk(plan: Plan, disk: str, counts: tuple[int, ...], environment: Mapping[str, str]) -> Iterator[Figure]:
    samples = _run(plan, disk, counts, environment)
    section = f"Acknowledged writes, audited, FULL, disk {disk}"
    for count in counts:
        found = samples[str(count)]
        writers = "1 writer" if count == 1 else f"{count} writers"
        alone = 0.95 if count == 1 else None
        crowd = 5.0 if count == _CROWD else None
        threads, tasks, direct, raw = (found[way] for way in ("threads", "tasks", "direct", "raw"))
        for way, mine in (("threads", threads), ("tasks", tasks)):
            target = crowd or (alone if way == "threads" else None)
            yield compare(section, f"{writers}, {way}", mine, direct, against="transaction each", target=target)
            yield compare(section, f"{writers}, {way}", mine, raw, against="raw driver each")


def _run(
    plan: Plan, disk: str, counts: tuple[int, ...], environment: Mapping[str, str]
) -> Mapping[str, Mapping[str, list[Sample]]]:
    folder = plan.directory / disk.replace(" ", "-")
    folder.mkdir()
    command = [sys.executable, "-m", "bench.writers", str(folder)]
    command += ["--rounds", str(plan.load_rounds), "--seconds", str(plan.load_seconds / 2), "--writers"]
    command += map(str, counts)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=_LONGEST)
    return {
        count: {way: [Sample(**sample) for sample in samples] for way, samples in ways.items()}
        for count, ways in json.loads(done.stdout).items()
    }
