"""Restores that are killed: `crasher <database> <backup>`, then one line of standard input a restore.

`steps n` kills the restore at the n-th call that the modules of `storage.transfer` make or get, `after s` kills it
after s seconds, `never 0` does not; all answer with the number of the signal, 0 when the restore came to its end. Each
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
from storage.transfer.restore import restore
from tests.integration.storage_backup.plant import declare


def kill_at_call(number: int) -> None:
    left = number

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal left
        if event.endswith("call") and frame.f_globals.get("__name__", "").startswith("storage.transfer"):
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
