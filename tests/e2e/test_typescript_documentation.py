"""The TypeScript of the documentation: what it prints is what the other tests run, or compiles strictly here."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.conftest import Need
from tests.e2e.conftest import Serve
from tests.e2e.test_typescript_client import HERE, V2, Workspace

pytestmark = pytest.mark.e2e

HOW_TO = Path("docs") / "how-to" / "typescript-client.md"


def blocks(project: Path) -> list[str]:
    return re.findall(r"^```typescript\n(.*?)^```$", (project / HOW_TO).read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_functions_of_version_0_6_are_those_that_run(project: Path) -> None:
    assert blocks(project)[1] == (HERE / "typescript" / "page.ts").read_text(encoding="utf-8")


def test_no_other_document_has_typescript_that_nobody_compiles(project: Path) -> None:
    documents = [project / "README.md", *(project / "docs").rglob("*.md")]
    found = {path.relative_to(project) for path in documents if "```typescript" in path.read_text(encoding="utf-8")}
    assert found == {HOW_TO}


def test_the_client_of_the_how_to_compiles_strictly(serve: Serve, need: Need, project: Path, tmp_path: Path) -> None:
    space = Workspace(V2, tmp_path, need)
    server = serve("tests.e2e.apps.main:app", tmp_path)
    space.generate(httpx.get(f"{server}/rpc/app.binpb").raise_for_status().content)
    (tmp_path / "client.ts").write_text(blocks(project)[0], encoding="utf-8")
    (tmp_path / "tsconfig.json").write_bytes((HERE / "typescript" / "tsconfig.json").read_bytes())
    space.run("tsc", "--strict", "--project", "tsconfig.json")
