from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from storage.errors import DatabaseUnavailable
from storage.transfer.workspace import need_space, workspace, workspace_beside

KILLED = """
import os, signal, sys
from pathlib import Path
from storage.transfer.workspace import workspace
with workspace(Path(sys.argv[1])) as room:
    (room / "half").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_only_this_user_can_read_it_and_it_is_gone_afterwards(tmp_path: Path) -> None:
    with workspace(tmp_path) as room:
        assert room.parent == tmp_path
        assert room.stat().st_mode & 0o777 == 0o700
        (room / "half").write_bytes(b"half")

    assert list(tmp_path.iterdir()) == []


def test_it_is_gone_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), workspace(tmp_path) as room:
        (room / "half").write_bytes(b"half")
        raise ValueError("stop")

    assert list(tmp_path.iterdir()) == []


def test_others_do_not_remove_it_while_it_is_in_use(tmp_path: Path) -> None:
    with workspace(tmp_path) as first:
        with workspace(tmp_path) as second:
            assert first != second
        assert first.is_dir()


def test_what_a_killed_process_left_goes_with_the_next_one(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (left,) = (item for item in tmp_path.iterdir() if item.is_dir())
    assert (left / "half").exists()

    with workspace(tmp_path) as room:
        assert not left.exists()
        assert room.is_dir()

    assert list(tmp_path.iterdir()) == []


def test_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / ".vention-storage.toml").write_text("mine")
    (tmp_path / "plant.db").write_bytes(b"")

    with workspace(tmp_path):
        pass

    assert sorted(item.name for item in tmp_path.iterdir()) == [".vention-storage.toml", "plant.db"]


def test_what_the_block_raises_is_not_taken_for_a_trouble_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(ConnectionRefusedError), workspace(tmp_path):
        raise ConnectionRefusedError

    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnavailable, match="a file cannot be written"), workspace(tmp_path / "file"):
        pytest.fail("it is no folder")


def test_it_is_beside_a_file_or_where_temporary_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "temporary"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))

    with workspace_beside(tmp_path / "my_app.db") as room:
        assert room.parent == tmp_path
    with workspace_beside(None) as room:
        assert room.parent == elsewhere
    monkeypatch.setattr("os.access", lambda *_: False)
    with workspace_beside(tmp_path / "my_app.db") as room:
        assert room.parent == elsewhere


def test_a_disk_with_too_little_room_is_refused_at_once(tmp_path: Path) -> None:
    need_space(tmp_path, 0)
    with pytest.raises(
        DatabaseUnavailable, match="1073741825 MiB are needed for temporary files; free some disk space"
    ):
        need_space(tmp_path, 1 << 50)
