"""A process that restores again and again: `restorer <url> <backup> <times>`; tells what came of each."""

from __future__ import annotations

import sys

from storage.bootstrap import bootstrap
from storage.errors import DatabaseBusy
from storage.transfer.restore import restore
from tests.integration.storage_backup.plant import declare


def main(url: str, backup: str, times: int) -> None:
    declare()
    bootstrap(database_url=url)
    for _ in range(times):
        try:
            restore(backup)
        except DatabaseBusy:
            print("busy", flush=True)  # noqa: T201 - to the test
        else:
            print("restored", flush=True)  # noqa: T201 - to the test


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
