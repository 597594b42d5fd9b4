"""A process that inserts from many threads at once: `limit_worker <url> <threads> <limit>`; tells what came of it."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from storage.accessor import ModelAccessor
from storage.database import set_database_url
from storage.errors import RecordLimitReached
from tests.integration.storage.limits import limited
from tests.integration.storage.models import Recipe


def main(url: str, threads: int, limit: int) -> None:
    set_database_url(url)
    recipes = ModelAccessor(Recipe, "recipes")
    together = threading.Barrier(threads)

    def insert(number: int) -> str:
        together.wait(30)
        try:
            with limited(recipes, limit):
                recipes.insert(Recipe(name=str(number)))
        except RecordLimitReached:
            return "refused"
        return "inserted"

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    with ThreadPoolExecutor(threads) as pool:
        outcomes = list(pool.map(insert, range(threads)))
    sys.stdout.write(f"{outcomes.count('inserted')} {outcomes.count('refused')}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
