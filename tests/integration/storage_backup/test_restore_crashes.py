"""Restores that are killed leave the database as it was, or the restored one, whole."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from tests.integration.storage_backup.ground import come_through, crasher, make_ground
from tests.integration.storage_backup.plant import Plant

SEED = 20261123


@pytest.mark.torture
def test_a_restore_killed_at_any_of_its_steps_leaves_old_or_new(
    declared: Plant, tmp_path: Path, project: Path, in_full: bool
) -> None:
    ground = make_ground(declared, tmp_path, users=100)
    outcomes: list[str] = []
    stride, number = (1, 1) if in_full else (17, 1 + SEED % 17)
    with crasher(ground, project) as restore_killed:
        while True:
            ground.reset()
            ended = restore_killed(f"steps {number}")
            outcomes.append(ground.outcome())
            if ended != signal.SIGKILL:
                break
            come_through(ground)
            number += stride

    print(f"killed at {len(outcomes) - 1} steps, the new database after {outcomes.count('new')}")  # noqa: T201
    assert ended == 0
    changed = outcomes.index("new")
    assert outcomes == ["old"] * changed + ["new"] * (len(outcomes) - changed)
    assert changed > 100 / stride
    assert len(outcomes) - changed > 1


@pytest.mark.torture
def test_a_restore_killed_at_any_moment_leaves_old_or_new(
    declared: Plant, tmp_path: Path, project: Path, in_full: bool
) -> None:
    ground = make_ground(declared, tmp_path, users=5000)
    chance, longest = random.Random(SEED), 0.0  # noqa: S311 - no secret
    outcomes: list[str] = []
    with crasher(ground, project) as restore_killed:
        for _ in range(2):  # the first one also waits for the interpreter
            ground.reset()
            started = time.monotonic()
            assert restore_killed("never 0") == 0
            longest = time.monotonic() - started
        count = 120 if in_full else 12
        for part in range(count):
            ground.reset()
            restore_killed(f"after {(part + chance.random()) / count * longest}")
            outcomes.append(ground.outcome())
            come_through(ground)

    print(f"killed at {count} moments: {outcomes.count('old')} old, {outcomes.count('new')} new")  # noqa: T201
    assert "old" in outcomes
