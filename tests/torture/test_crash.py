"""kill -9 at any moment under load: what was acknowledged is there, and nothing is there in halves."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.torture.clients import Clients
from tests.torture.ledger import Ledger
from tests.torture.program import Program
from tests.torture.workshop import prepare_file

pytestmark = pytest.mark.torture

SEED = 20
KILLS_OF_A_FILE = 20
"""Each file lives through so many crashes; then a new one keeps the checks quick."""
MOMENTS = ("intend", "done", "enter", "enter", "leave")
LATEST = 150
"""After how many events of a kind, at most, a program is killed."""
DELAY = 0.004
"""How long after that, at most, in seconds."""
PAUSE = 0.001


def killed(file: Path, ledger: Ledger, name: str, chance: random.Random) -> Counter[str]:
    """Let a program work on a file and kill it at a random moment; gives what it was in the middle of."""
    with Program(ledger, "tests.torture.worker", f"sqlite:///{file}", name, "--pause", str(PAUSE)) as program:
        program.listen_for(chance.choice(MOMENTS), chance.randint(1, LATEST))
        time.sleep(chance.random() * DELAY)
        program.kill()
    return Counter(
        kills=1,
        writing=bool(ledger.pending),
        hook=bool(ledger.in_hook),
        shared_commit=len(ledger.hooked) > 1,
        insert_many=any(ledger.kinds[job] == "batch" for job in ledger.hooked),
        transaction=any(ledger.kinds[job] in {"transaction", "awaiting"} for job in ledger.hooked),
    )


def as_left(file: Path, folder: Path) -> Path:
    """A copy of the file and its log as the crash left them, so that the next program has to recover the original."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for found in (file, file.with_name(f"{file.name}-wal")):
        if found.exists():
            shutil.copy(found, folder)
    return folder / file.name


def test_a_killed_process_leaves_all_that_it_acknowledged_and_no_halves(tmp_path: Path, in_full: bool) -> None:
    kills, chance, middle = 220 if in_full else 3, random.Random(SEED), Counter[str]()  # noqa: S311 - to be repeated
    file, ledger, written = tmp_path / "parts.db", Ledger(), 0
    for number in range(kills):
        if number % KILLS_OF_A_FILE == 0:
            file, ledger = tmp_path / f"parts{number}.db", Ledger()
            prepare_file(f"sqlite:///{file}")
        before = len(ledger.done)
        middle += killed(file, ledger, f"kill{number}", chance)
        ledger.check(as_left(file, tmp_path / "copy"))
        ledger.forget_pending()
        written += len(ledger.done) - before
    print(f"killed in the middle of: {dict(middle)}; {written} jobs acknowledged")  # noqa: T201 - the figures
    assert middle["writing"] >= 0.75 * kills
    if in_full:
        assert min(middle[place] for place in ("hook", "shared_commit", "insert_many", "transaction")) > 0


async def test_a_killed_server_leaves_all_that_it_answered_and_no_halves(tmp_path: Path, in_full: bool) -> None:
    kills, chance, middle = 40 if in_full else 1, random.Random(SEED), Counter[str]()  # noqa: S311 - to be repeated
    file, ledger = tmp_path / "parts.db", Ledger()
    prepare_file(f"sqlite:///{file}")
    for number in range(kills):
        with Program(ledger, "tests.torture.server", f"sqlite:///{file}") as server:
            server.listen_for("port", 1)
            clients = Clients(ledger, f"kill{number}", 16)
            async with clients.calling():
                await clients.answered(chance.randint(1, 2 * LATEST))
                await asyncio.sleep(chance.random() * DELAY)
                server.kill()
        middle += Counter(kills=1, writing=bool(ledger.pending), shared_commit=len(ledger.pending) > 1)
        ledger.check(as_left(file, tmp_path / "copy"))
        ledger.forget_pending()
    print(f"killed in the middle of: {dict(middle)}; {len(ledger.done)} writes answered")  # noqa: T201 - the figures
    assert middle["writing"] >= 0.75 * kills
