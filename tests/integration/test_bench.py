from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from pathlib import Path
from bench.contenders.product import Product, open_database
from storage.database import get_engine
open_database(Path(sys.argv[1]))
Product(Path(sys.argv[1]), sys.argv[2])
with get_engine().connect() as connection:
    print(connection.exec_driver_sql("PRAGMA synchronous").scalar())
"""


@pytest.mark.parametrize(("synchronous", "level"), [("FULL", "2"), ("NORMAL", "1")])
def test_every_connection_of_a_measurement_is_as_durable_as_it_says(
    tmp_path: Path, synchronous: str, level: str
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "bench.db"), synchronous]

    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(PROJECT)}, stdout=subprocess.PIPE, check=True)

    assert done.stdout.decode().strip() == level
