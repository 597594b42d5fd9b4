"""DatabaseSchemaDiagram as a caller sees it, with Graphviz and without."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest

from storage.rpc import served
from tests.conftest import Need
from tests.integration.storage_rpc.cell import Cell

INSTALL = ("sudo apt-get install graphviz", "brew install graphviz", "pip install sqlalchemy-schemadisplay")


@pytest.fixture(autouse=True)
def nothing_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the test itself serves."""
    monkeypatch.setattr(served, "_by_table", {})


@pytest.mark.parametrize(("format_", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG\r\n")])
async def test_a_picture(format_: str, start: bytes, cell: Cell, need: Need) -> None:
    need("dot")
    pytest.importorskip("sqlalchemy_schemadisplay")
    answer = await cell.call("DatabaseSchemaDiagram", {"format": format_})
    assert answer.status == 200, answer.body
    assert answer.body["filename"] == f"schema.{format_}"
    picture = base64.b64decode(answer.body["data"])
    assert picture.startswith(start)
    assert format_ != "svg" or all(name in picture.decode() for name in ("person", "badge_code", "auditlog"))
    assert answer.body["mermaid"].startswith("erDiagram")


async def test_svg_unless_told_otherwise(cell: Cell, need: Need) -> None:
    need("dot")
    pytest.importorskip("sqlalchemy_schemadisplay")
    assert (await cell.call("Database_SchemaDiagram", {})).body["filename"] == "schema.svg"


async def test_mermaid_needs_nothing(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy_schemadisplay", None)
    monkeypatch.setenv("PATH", "")
    answer = await cell.call("DatabaseSchemaDiagram", {"format": "mermaid"})
    assert answer.body["filename"] == "schema.mmd"
    text = base64.b64decode(answer.body["data"]).decode()
    assert text == answer.body["mermaid"]
    assert '"person" |o--o{ "errand" : "person_id"' in text


@pytest.mark.parametrize("missing", ["package", "program"])
async def test_without_the_tools_it_says_how_to_install_them(
    missing: str, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing == "package":
        monkeypatch.setitem(sys.modules, "sqlalchemy_schemadisplay", None)
    else:
        pytest.importorskip("sqlalchemy_schemadisplay")
        monkeypatch.setenv("PATH", "")
    answer = await cell.call("DatabaseSchemaDiagram", {"format": "png"})
    assert answer.error == (400, "failed_precondition")
    assert all(command in answer.body["message"] for command in INSTALL)


async def test_a_graphviz_that_fails_is_told_as_well(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sqlalchemy_schemadisplay")
    program = tmp_path / "bin" / "dot"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    answer = await cell.call("DatabaseSchemaDiagram", {"format": "png"})
    assert answer.error == (400, "failed_precondition")
    assert answer.body["message"].startswith("this Graphviz cannot draw png; install both: ")


async def test_a_format_that_is_none(cell: Cell) -> None:
    answer = await cell.call("DatabaseSchemaDiagram", {"format": "pdf"})
    assert answer.error == (400, "invalid_argument")
    assert answer.violations == {"format": "must be svg, png or mermaid"}
