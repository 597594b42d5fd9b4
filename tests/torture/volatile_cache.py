"""A disk that keeps only what was synced, as programs see it that volatile_cache.c is loaded into."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

from tests.conftest import require

SECTOR = 512


def compiled(folder: Path) -> Path:
    """Compile the layer between the programs under test and the disk."""
    compiler = require(shutil.which("cc"), "cc, a C compiler,")
    library = folder / "volatile_cache.so"
    source = Path(__file__).with_name("volatile_cache.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"], check=True)
    return library


def environment(library: Path, finished: Path, disk: Path) -> dict[str, str]:
    """What a program finds in its environment whose databases, and the names of a folder, are on such a disk."""
    return {"LD_PRELOAD": str(library), "VOLATILE_CACHE_FOLDER": str(finished), "VOLATILE_CACHE_DISK": str(disk)}


def reboot(folder: Path, disk: Path, *, reached: float, chance: random.Random, finished: Path | None = None) -> None:
    """Leave in a folder what a power cut leaves there, and empty the disk.

    Args:
        folder: What the programs saw.
        disk: What was synced of it.
        reached: Of what was written and not synced, the part that has reached the disk all the same.
        chance: What decides which.
        finished: The folder whose names are followed, where it is another one.
    """
    finished = finished or folder
    for file in sorted({*folder.iterdir(), *finished.iterdir()}):
        if file.name.endswith(".sqlite"):
            _reboot_finished(file, disk, reached, chance)
        elif (disk / file.name).exists():
            file.write_bytes(torn((disk / file.name).read_bytes(), file.read_bytes(), reached, chance))
        elif file.name.endswith("-shm"):
            file.unlink()
    for kept in disk.iterdir():
        if kept.name.endswith(".sqlite") and not (finished / kept.name).exists() and chance.random() >= reached:
            shutil.copy(kept, finished)  # its removal has not reached the disk
    shutil.rmtree(disk)
    disk.mkdir()


def _reboot_finished(file: Path, disk: Path, reached: float, chance: random.Random) -> None:
    """A file that was made under another name, if it was made."""
    content, kept = disk / f"{file.stat().st_ino}.content", disk / file.name
    if not content.exists():
        return
    named = kept.exists() and kept.samefile(content)
    if named or chance.random() < reached:
        file.write_bytes(torn(content.read_bytes(), file.read_bytes(), reached, chance))
    elif kept.exists():
        shutil.copy(kept, file)
    else:
        file.unlink()


def torn(kept: bytes, written: bytes, reached: float, chance: random.Random) -> bytes:
    """What is on a disk that some sectors have reached, and others not."""
    if chance.random() >= reached:  # neither has the new length of the file
        written = written[: len(kept)].ljust(len(kept), b"\0")
    result = bytearray(kept[: len(written)].ljust(len(written), b"\0"))
    for start in range(0, len(result), SECTOR):
        if chance.random() < reached:
            result[start : start + SECTOR] = written[start : start + SECTOR]
    return bytes(result)
