"""The reference has every public name, with the signature and the docstring that the source has."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).resolve().parents[2] / "docs" / "reference"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_generator", HERE / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


generator: Any = load()
PAGES: dict[Path, str] = generator.pages()
FOR_USERS = [name for names in generator.FOR_USERS.values() for name in names]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_says_what_the_source_says(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == PAGES[page], "run `make reference`"


def section(module: str) -> str:
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    return text.partition(f"\n## {module}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("module", generator.module_names())
def test_every_public_function_and_class_is_there_and_nothing_else(module: str) -> None:
    own = {
        name
        for name, value in vars(importlib.import_module(module)).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and (value.__module__, value.__name__) == (module, name)
    }
    told = set(re.findall(r"^(?:### |- `)(\w+)(?:`: |$)", section(module), re.MULTILINE))
    assert own <= told
    assert {name for name in told if re.search(rf"^### {name}$", section(module), re.MULTILINE)} <= set(
        dir(importlib.import_module(module))
    )


@pytest.mark.parametrize("module", FOR_USERS)
def test_every_name_for_users_is_told_about(module: str) -> None:
    assert [item.name for item in generator.public_names(generator.parse(module)) if not item.text] == []


def test_no_example_of_the_reference_is_lost() -> None:
    shown = sum(text.count("```pycon") for text in PAGES.values())
    written = sum(
        inspect.getsource(importlib.import_module(module)).count("Example:\n") for module in FOR_USERS
    ) - inspect.getsource(importlib.import_module("communication.client")).count("Example:\n")
    assert shown == written
