"""Restores that are killed: `crasher <database> <backup>`, then one line of standard input a restore.

`steps n` kills the restore at the n-th call that the modules of `storage.transfer` make or get, `after s` kills it
after s seconds, `never 0` does not; `power n` has the power fail before the n-th thing that the restore does to the
disk, and `power-backup n` before that of a backup to `kept.sqlite` in a folder `backups` beside
that of the database (see volatile_cache.c). All answer with the number of the signal, 0 when it came to its end. Each
runs in a process of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from storage.bootstrap import bootstrap
from storage.database import transaction
from storage.transfer.backup import backup_to
from storage.transfer.restore import restore
from tests.integration.storage_backup.plant import declare

CALLED_FOR_EACH_CELL = "storage.transfer.rows"
"""A module whose calls are too many to be killed at each."""


def kill_at_call(number: int) -> None:
    left = number

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal left
        name = frame.f_globals.get("__name__", "")
        if event.endswith("call") and name.startswith("storage.transfer") and name != CALLED_FOR_EACH_CELL:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(profile)


def killed(database: Path, backup: Path, command: str, amount: str) -> int:
    """Restore in a child that is killed; the signal that ended it."""
    child = os.fork()
    if child == 0:
        bootstrap(database_url=f"sqlite:///{database}")
        if command == "steps":
            kill_at_call(int(amount))
        if command.startswith("power"):
            with transaction() as session:  # since SQLite syncs the folder with the first thing that a process writes
                session.connection().exec_driver_sql("PRAGMA user_version = 1")
            os.environ["VOLATILE_CACHE_CUT"] = amount
        if command == "power-backup":
            backup_to(database.parent.with_name("backups") / "kept.sqlite")
        else:
            restore(backup)
        sys.setprofile(None)
        os._exit(0)
    if command == "after":
        time.sleep(float(amount))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    return -os.WEXITSTATUS(status)


def main(database: Path, backup: Path) -> None:
    declare()
    for line in sys.stdin:
        sys.stdout.write(f"{killed(database, backup, *line.split())}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
