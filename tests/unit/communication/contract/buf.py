"""The buf tool, run on contracts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from communication.contract.contract import Contract
from communication.naming import PROTO_FILE


class Buf:
    """Runs buf in a folder of its own."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self.folder = folder

    def module(self, name: str, contract: Contract) -> Path:
        """Write the contract's .proto as a module of buf; return the module's folder."""
        path = self.folder / name / PROTO_FILE
        path.parent.mkdir(parents=True)
        path.write_text(contract.proto_text)
        (self.folder / name / "buf.yaml").write_text("version: v2\nbreaking:\n  use: [WIRE_JSON]\n")
        return self.folder / name

    def image(self, name: str, contract: Contract) -> Path:
        """Write the contract's descriptor set as an image; return its path."""
        path = self.folder / f"{name}.binpb"
        path.write_bytes(contract.descriptor_set)
        return path

    def run(self, *arguments: str | Path) -> str:
        """Run buf; return what it says against its input, nothing when it is content."""
        done = subprocess.run(
            [self._program, *map(str, arguments)], cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 100), done.stderr
        return done.stdout + done.stderr
