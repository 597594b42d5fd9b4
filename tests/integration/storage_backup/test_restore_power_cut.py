"""A power cut during a restore or a backup, simulated: the old file or the new one is on the disk, whole."""

from __future__ import annotations

import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.storage_backup.files import safety_copies, values
from tests.integration.storage_backup.ground import NAMES, Ground, come_through, crasher, make_ground
from tests.integration.storage_backup.plant import Plant
from tests.torture.volatile_cache import compiled, environment, reboot

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(sys.platform != "linux", reason="the simulation is loaded by LD_PRELOAD, which Linux has"),
]

SEED = 20261123
NEVER = 10**9


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine whose disk keeps only what was synced, and whose power fails."""

    ground: Ground
    task: str
    """What it does: `power`, a restore, or `power-backup`."""
    finished: Path
    """The folder in which it finishes files."""
    disk: Path
    tell: Callable[[str], int]
    chance: random.Random

    def run(self, cut: int, reached: float = 0.0) -> bool:
        """Do the task anew until the power fails, and start again; whether it was acknowledged before that.

        Args:
            cut: Before which step of it the power fails; behind its last step, right after the acknowledgement.
            reached: Of what was not synced, the part that has reached the disk all the same.
        """
        self.ground.reset()
        self.kept.parent.mkdir(exist_ok=True)
        shutil.copy(self.ground.backup, self.kept)
        if self.finished == self.kept.parent:
            shutil.copy(self.kept, self.disk)
        ended = self.tell(f"{self.task} {cut}")
        assert ended in {0, signal.SIGKILL}
        folder = self.ground.database.parent
        reboot(folder, self.disk, finished=self.finished, reached=reached, chance=self.chance)
        return ended == 0

    @property
    def kept(self) -> Path:
        """A backup that is there, and that a later one replaces."""
        return self.ground.database.parent.with_name("backups") / "kept.sqlite"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("library"))


Running = Callable[..., AbstractContextManager[Machine]]


@pytest.fixture
def running(declared: Plant, tmp_path: Path, project: Path, library: Path) -> Running:
    """Makes a machine for a task."""
    ground, disk = make_ground(declared, tmp_path, users=100), tmp_path / "disk"
    disk.mkdir()

    @contextmanager
    def run(task: str, **surroundings: str) -> Iterator[Machine]:
        finished = tmp_path / "backups" if task == "power-backup" else ground.database.parent
        chance = random.Random(SEED)  # noqa: S311 - to be repeated, not to be secret
        with crasher(ground, project, **environment(library, finished, disk), **surroundings) as tell:
            yield Machine(ground=ground, task=task, finished=finished, disk=disk, tell=tell, chance=chance)

    return run


@pytest.mark.parametrize("reached", [0.0, 0.5])
def test_a_power_cut_at_any_step_of_a_restore_leaves_old_or_new(
    running: Running, reached: float, in_full: bool
) -> None:
    outcomes, acknowledged = [], False
    stride, cut = (1, 1) if in_full else (23, 1 + SEED % 23)
    with running("power") as machine:
        while not acknowledged:
            acknowledged = machine.run(cut, reached)
            outcomes.append(machine.ground.outcome())
            come_through(machine.ground)
            cut += stride

    print(f"{len(outcomes)} power cuts, the new database after {outcomes.count('new')}")  # noqa: T201 - the figure
    assert outcomes[0] == "old"
    assert outcomes[-1] == "new"
    assert len(outcomes) > 100 / stride
    if not reached:
        assert sorted(outcomes, reverse=True) == outcomes


@pytest.mark.parametrize("reached", [0.0, 0.5])
def test_a_power_cut_at_any_step_of_a_backup_leaves_the_older_one_or_the_new(
    running: Running, reached: float, in_full: bool
) -> None:
    outcomes, acknowledged = [], False
    stride, cut = (1, 1) if in_full else (7, 1 + SEED % 7)
    with running("power-backup") as machine:
        while not acknowledged:
            acknowledged = machine.run(cut, reached)
            assert values(machine.kept, "PRAGMA integrity_check") == ["ok"]
            outcomes.append(values(machine.kept, NAMES))
            assert machine.ground.outcome() == "old"  # nothing was restored
            cut += stride

    older, new = machine.ground.new, machine.ground.old
    print(f"{len(outcomes)} power cuts, the new backup after {outcomes.count(new)}")  # noqa: T201 - the figure
    assert outcomes[0] == older
    assert outcomes[-1] == new
    assert all(outcome in (older, new) for outcome in outcomes)


def test_the_simulation_is_sharp_since_on_a_disk_that_lies_what_was_acknowledged_is_lost(running: Running) -> None:
    with running("power", VOLATILE_CACHE_LIES="yes") as machine:
        assert machine.run(NEVER)
        assert machine.ground.outcome() == "old"
        assert safety_copies(machine.ground.database) == []
    with running("power-backup", VOLATILE_CACHE_LIES="yes") as machine:
        assert machine.run(NEVER)
        assert values(machine.kept, NAMES) == machine.ground.new
