"""A disk that is full, read-only or gone: `unavailable`, nothing in halves, and on again without a restart."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from communication.client import ConnectClient
from communication.errors import RpcError
from storage import database
from storage.dialects import sqlite_driver
from storage.errors import DatabaseUnavailable
from tests.conftest import require
from tests.torture.ledger import Ledger
from tests.torture.program import Program
from tests.torture.workshop import Part, Workshop, open_file, prepare_file

pytestmark = pytest.mark.torture

Mount = Callable[..., Path]
"""`mount("-t", "tmpfs", …)` mounts a file system for one test, and gives its folder."""
SEVERAL = 30
"""Events of a kind after which it was no accident."""


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(*arguments: str) -> Path:
        allowed = os.geteuid() == 0 and _succeeds("mount", *arguments, str(folder))
        require("root" if allowed else None, f"the right to mount ({' '.join(arguments)})")
        return folder

    yield mount
    database.set_database_url("sqlite://")
    subprocess.run(["umount", "--lazy", folder], check=False, capture_output=True)


@pytest.fixture
def small_disk(mount: Mount) -> Path:
    """A disk of 6 MB."""
    return mount("-t", "tmpfs", "-o", "size=6m", "tmpfs")


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no room on a disk while the block runs."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**16, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    assert os.statvfs(disk).f_bavail == 0
    yield
    ballast.unlink()


@contextlib.contextmanager
def moved(folder: Path) -> Iterator[None]:
    """Have a folder vanish while the block runs."""
    away = folder.with_name("away")
    folder.rename(away)
    yield
    away.rename(folder)


def check_failures(ledger: Ledger) -> None:
    """Make sure that the failures were said in our terms: by storage, or by the driver to the owner of a session."""
    assert {error.split()[0] for error in ledger.failed.values()} <= {
        "DatabaseUnavailable",
        "OperationalError",
        "WriteWouldDeadlock",
    }
    told = [job for job, error in ledger.failed.items() if error.startswith("OperationalError")]
    assert {ledger.kinds[job] for job in told} <= {"session", "joined"}


def trouble_under_load(file: Path, ledger: Ledger, trouble: contextlib.AbstractContextManager[None]) -> None:
    """Let a program write, go through the trouble, and write again."""
    with Program(ledger, "tests.torture.worker", f"sqlite:///{file}", "load") as program:
        program.listen_for("done", SEVERAL)
        with trouble:
            program.listen_for("failed", SEVERAL)
        program.listen_for("done", SEVERAL)
        assert program.end() == 0
    check_failures(ledger)
    ledger.check(file)
    print(f"{len(ledger.done)} jobs done, {len(ledger.failed)} failed")  # noqa: T201 - the figures


def test_a_full_disk_fails_writes_whole_until_there_is_room(small_disk: Path) -> None:
    file, ledger = small_disk / "parts.db", Ledger()
    prepare_file(f"sqlite:///{file}")
    trouble_under_load(file, ledger, filled(small_disk))


def test_a_file_that_vanishes_under_load_fails_writes_whole_until_it_is_back(tmp_path: Path) -> None:
    folder, ledger = tmp_path / "data", Ledger()
    folder.mkdir()
    prepare_file(f"sqlite:///{folder}/parts.db")
    trouble_under_load(folder / "parts.db", ledger, moved(folder))


@pytest.mark.parametrize("trouble", [filled, moved])
async def test_a_server_says_unavailable_and_goes_on_without_a_restart(
    small_disk: Path, trouble: Callable[[Path], contextlib.AbstractContextManager[None]]
) -> None:
    folder, ledger = small_disk / "data", Ledger()
    folder.mkdir()
    prepare_file(f"sqlite:///{folder}/parts.db")
    with Program(ledger, "tests.torture.server", f"sqlite:///{folder}/parts.db") as server:
        server.listen_for("port", 1)
        async with ConnectClient(f"http://127.0.0.1:{ledger.port}", timeout=30) as client:
            await client.call("PartsCreateRecord", {"record": {"job": "before"}})
            with trouble(folder):
                for _ in range(3):
                    with pytest.raises(RpcError) as caught:
                        await client.call("PartsCreateRecord", {"record": {"job": "x" * 10_000}})
                    assert (caught.value.code.value, str(folder) in str(caught.value)) == ("unavailable", False)
            await client.call("PartsCreateRecord", {"record": {"job": "after"}})
            parts = (await client.call("PartsListRecords")).records
    assert [part.job for part in parts] == ["first", "before", "after"]


def test_a_commit_that_has_happened_is_no_failure_though_its_log_cannot_be_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "parts.db"
    open_file(f"sqlite:///{file}")
    parts = Workshop().parts
    parts.insert(Part(job="x" * 2**19), actor="test")  # so that the log has more room than what follows needs
    with contextlib.closing(sqlite_driver.DRIVER.connect(str(file))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    monkeypatch.setattr(sqlite_driver, "LOG_LIMIT", 0)
    with largest_file(file.stat().st_size):
        parts.insert(Part(job="y" * 2**16), actor="test")
    assert "make room in its log" in caplog.text
    assert [part.job[0] for part in parts.all()] == ["x", "y"]
    database.set_database_url("sqlite://")


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size while the block runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_app_that_starts_on_a_read_only_disk_goes_on_once_it_can_be_written(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk}/parts.db"
    prepare_file(url)
    parts = Workshop().parts
    assert _succeeds("mount", "-o", "remount,ro", str(small_disk))
    database.set_database_url(url)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            parts.insert(Part(job="refused"), actor="test")
    assert _succeeds("mount", "-o", "remount,rw", str(small_disk))
    parts.insert(Part(job="accepted"), actor="test")
    assert [part.job for part in parts.all()] == ["first", "accepted"]


def test_a_disk_that_the_system_makes_read_only_fails_writes_and_is_still_read(mount: Mount, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(16 * 2**20)
    maker = require(shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/sbin:/usr/sbin"), "mkfs.ext4")
    subprocess.run([maker, "-q", image], check=True, capture_output=True)
    disk = mount("-o", "loop,errors=remount-ro", str(image))
    open_file(f"sqlite:///{disk}/parts.db")
    parts = Workshop().parts
    parts.insert(Part(job="before"), actor="test")
    break_disk(disk)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            parts.insert(Part(job="refused"), actor="test")
    assert [part.job for part in parts.all()] == ["before"]


def break_disk(disk: Path) -> None:
    """Make ext4 find an error, after which it refuses to write, as it does on a card that wears out."""
    device = subprocess.run(["findmnt", "-no", "SOURCE", disk], check=True, capture_output=True, text=True).stdout
    trigger = Path("/sys/fs/ext4") / Path(device.strip()).name / "trigger_fs_error"
    require("ext4" if os.access(trigger, os.W_OK) else None, f"{trigger}, which makes a disk fail,")
    trigger.write_text("1")
