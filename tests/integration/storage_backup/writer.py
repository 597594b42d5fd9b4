"""A process that keeps writing: `writer <url>`; tells the number of each user that it was told is stored."""

from __future__ import annotations

import itertools
import os
import sys

from storage.database import set_database_url
from storage.errors import DatabaseUnavailable
from tests.integration.storage_backup.plant import declare


def main(url: str) -> None:
    plant = declare()
    set_database_url(url)
    for number in itertools.count():
        try:
            plant.users.insert(plant.user(name=f"writer {os.getpid()} {number}", email=""))
        except DatabaseUnavailable:
            continue  # it was told that this one is not stored
        sys.stdout.write(f"writer {os.getpid()} {number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
