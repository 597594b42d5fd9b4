from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from storage.errors import DatabaseUnavailable
from storage.transfer.disk import disk_errors_translated, put_in_place, sha256_of


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO, errno.EDQUOT])
def test_what_a_disk_says_is_told_without_the_path(number: int) -> None:
    with pytest.raises(DatabaseUnavailable, match="then try again") as told, disk_errors_translated():
        raise OSError(number, "Something", "/secret/path")

    assert "/secret" not in str(told.value)


def test_a_path_of_the_callers_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"), disk_errors_translated():
        Path("nowhere").read_bytes()


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="own"), disk_errors_translated():
        raise ValueError("own")


def test_a_finished_file_replaces_the_one_that_is_there(tmp_path: Path) -> None:
    made, place = tmp_path / "made", tmp_path / "place"
    made.write_bytes(b"new")
    place.write_bytes(b"old")

    put_in_place(made, place)

    assert place.read_bytes() == b"new"
    assert not made.exists()


def test_the_hash_is_that_of_the_whole_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(content)

    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()
