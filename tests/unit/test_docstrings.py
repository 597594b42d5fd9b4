"""Every public name says what it does, and every example in a docstring runs."""

from __future__ import annotations

import ast
import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"
SOURCES = sorted(SRC.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def decorators(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str]:
    return {ast.unparse(item).partition("(")[0].rpartition(".")[2] for item in node.decorator_list}


def undocumented(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    if not ast.get_docstring(node):
        yield prefix
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from undocumented(child, f"{prefix}.{child.name}")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            inherited = decorators(child) & {"overload", "override", "setter", "deleter"}
            if not inherited and not ast.get_docstring(child):
                yield f"{prefix}.{child.name}"
    if isinstance(node, ast.ClassDef) and "dataclass" in decorators(node):
        yield from undocumented_fields(node, prefix)


def undocumented_fields(node: ast.ClassDef, prefix: str) -> Iterator[str]:
    for field, following in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            if not documented and not field.target.id.startswith("_"):
                yield f"{prefix}.{field.target.id}"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_every_public_name_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not list(undocumented(tree, module_name(path)))


@pytest.mark.usefixtures("fresh_declarations")
@pytest.mark.parametrize("path", [path for path in SOURCES if ">>> " in path.read_text("utf-8")], ids=module_name)
def test_the_examples_in_docstrings_run(path: Path) -> None:
    report: list[str] = []
    for example in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module_name(path))):
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        runner.run(example, out=report.append)
    assert not report, "".join(report)
