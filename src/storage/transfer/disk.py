"""Files on the disk: put in their place whole and durable, its errors in our terms."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.errors import DatabaseUnavailable

_CHUNK = 1 << 20


@contextmanager
def disk_errors_translated() -> Iterator[None]:
    """Raise what the operating system says about a disk in our terms, and without the path.

    Raises:
        DatabaseUnavailable: The disk is full, read-only, broken or not ours.

    Example:
        >>> with disk_errors_translated():
        ...     raise OSError(28, "No space left on device", "/data/my_app.db")
        Traceback (most recent call last):
        storage.errors.DatabaseUnavailable: a file cannot be written: no space left on device; free some disk space and
        make the folder writable, then try again
    """
    try:
        yield
    except FileNotFoundError:
        raise  # a path of the caller's
    except OSError as error:
        message = f"a file cannot be written: {(error.strerror or 'input/output error').lower()}"
        hint = "free some disk space and make the folder writable, then try again"
        raise DatabaseUnavailable(message, hint=hint) from error


def put_in_place(made: Path, place: Path) -> None:
    """Give a finished file its name, so that nobody ever sees half of it and a power cut does not undo it.

    Args:
        made: The file, in the same folder as `place` or in one inside it.
        place: Where it goes; a file that is there is replaced.
    """
    with made.open("rb+") as file:
        os.fsync(file.fileno())
    made.replace(place)
    sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """Make the names of a folder durable."""
    if os.name == "nt":  # where a folder cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits.

    Example:
        >>> sha256_of(Path(os.devnull))[:8]
        'e3b0c442'
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
