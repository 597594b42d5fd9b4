"""README.md and docs/ are complete and consistent; that their examples run is seen to by the root's conftest.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").rglob("*.md"))]

EXECUTED = {"python", "console"}
"""Languages of blocks that run with the document."""

SHOWN = {"json", "make", "proto", "pycon", "sh", "sql", "text", "toml", "typescript", "yaml"}
"""Languages of blocks that only show something; what they promise has tests of its own."""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_make_target_is_in_the_readme() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    declared = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert declared
    targets = declared[1].split()
    assert {"setup", "run", "test", "check", "bench", "torture"} <= set(targets)
    readme = README.read_text(encoding="utf-8")
    assert [target for target in targets if f"make {target}" not in readme] == []


def test_the_quickstart_is_the_program_that_real_clients_call() -> None:
    program = (ROOT / "tests" / "e2e" / "apps" / "quickstart.py").read_text(encoding="utf-8")
    assert f"```python\n{program}```" in README.read_text(encoding="utf-8")


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) < 150


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_code_block_has_a_language_that_is_known(document: Path) -> None:
    fences = re.findall(r"^```(.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    languages = {fence.strip() for fence in fences[::2]}
    assert languages <= EXECUTED | SHOWN


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_links_inside_the_project_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert broken == []
