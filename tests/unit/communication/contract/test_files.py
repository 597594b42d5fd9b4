"""Files written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from communication.contract.files import write_whole


def test_a_file_is_made_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "proto" / "app.proto"
    write_whole(path, b"one")
    assert path.read_bytes() == b"one"
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "app.proto"
    write_whole(path, b"one")

    def full(handle: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_whole(path, b"two")

    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]
