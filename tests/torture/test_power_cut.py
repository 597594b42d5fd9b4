"""A power cut under load, simulated: of what was not synced nothing, or any part, has reached the disk."""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

import pytest

from tests.torture.ledger import Ledger
from tests.torture.program import Program
from tests.torture.volatile_cache import compiled, environment, reboot
from tests.torture.workshop import prepare_file

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(sys.platform != "linux", reason="the simulation is loaded by LD_PRELOAD, which Linux has"),
]

SEED = 21
FILE = "parts.db"
WAIT_FOR_JOBS = 400
"""How many acknowledgements to wait for, at most, before the power is cut."""
OFTEN = "wal_autocheckpoint = 50"
"""Has the log begin anew often, which is when SQLite depends most on the order of what is synced."""


class Machine:
    """A machine whose disk keeps only what was synced."""

    def __init__(self, folder: Path, cache_library: Path, chance: random.Random) -> None:
        self.folder, self.shim, self.chance = folder, cache_library, chance
        self.cache, self.disk = folder / "cache", folder / "disk"
        self.cache.mkdir()
        self.disk.mkdir()
        self.ledger = Ledger()
        prepare_file(f"sqlite:///{self.cache / FILE}")

    def run(self, name: str, jobs: int, *options: str) -> None:
        """Work until so many jobs are acknowledged, and go dead."""
        surroundings = environment(self.shim, self.cache, self.disk)
        url = f"sqlite:///{self.cache / FILE}"
        with Program(self.ledger, "tests.torture.worker", url, name, *options, environment=surroundings) as program:
            program.listen_for("done", jobs)

    def reboot(self, *, reached: float = 0.0) -> Path:
        """Start again with what is on the disk; gives its database.

        Args:
            reached: Of what was written and not synced, the part that has reached the disk all the same.
        """
        reboot(self.cache, self.disk, reached=reached, chance=self.chance)
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.cache, copy)
        self.ledger.forget_pending()
        return copy / FILE


@pytest.fixture(scope="module")
def cache_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer between the programs under test and the disk, compiled."""
    return compiled(tmp_path_factory.mktemp("library"))


@pytest.fixture
def machine(tmp_path: Path, cache_library: Path) -> Machine:
    return Machine(tmp_path, cache_library, random.Random(SEED))  # noqa: S311 - to be repeated, not to be secret


@pytest.mark.parametrize("reached", [0.0, 0.5])
def test_a_power_cut_loses_nothing_that_was_acknowledged(machine: Machine, reached: float, in_full: bool) -> None:
    for number in range(25 if in_full else 1):
        machine.run(f"cut{number}", machine.chance.randint(1, WAIT_FOR_JOBS), "--pragma", OFTEN)
        machine.ledger.check(machine.reboot(reached=reached))
    print(f"{len(machine.ledger.done)} jobs acknowledged, none lost")  # noqa: T201 - the figure


@pytest.mark.parametrize("mode", ["NORMAL", "OFF"])
def test_the_simulation_is_sharp_since_less_syncing_does_lose_jobs(machine: Machine, mode: str) -> None:
    machine.run("cut", 100, "--pragma", f"synchronous = {mode}")
    lost = machine.ledger.lost(machine.reboot())
    print(f"{mode}: {len(lost)} of {len(machine.ledger.done)} acknowledged jobs lost")  # noqa: T201 - the figure
    assert lost
