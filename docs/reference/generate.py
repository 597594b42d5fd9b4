"""Writes the reference of every public name from the sources and their docstrings: `make reference`.

What users call is told in full; the parts that only the packages themselves use, in one line each.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SRC = Path(__file__).resolve().parents[2] / "src"
HERE = Path(__file__).resolve().parent

FOR_USERS = {
    "storage": (
        "storage.bootstrap",
        "storage.accessor",
        "storage.database",
        "storage.auditor",
        "storage.trail",
        "storage.health",
        "storage.diagram",
        "storage.transfer.backup",
        "storage.transfer.restore",
        "storage.transfer.archive_export",
        "storage.transfer.archive_import",
        "storage.transfer.archive_report",
        "storage.vention_communication",
        "storage.rpc.errors",
        "storage.errors",
    ),
    "communication": (
        "communication.app",
        "communication.decorators",
        "communication.entries",
        "communication.streams",
        "communication.context",
        "communication.client",
        "communication.contract.markers",
        "communication.errors",
    ),
}
"""The modules that an app imports from, in the order in which the pages tell of them."""

MADE = "Made from the docstrings by `make reference`."
WIDTH = 100
_PRIVATE_VALUE = re.compile(r"(TypeVar|ParamSpec|logging\.getLogger)\(")
_SECTION = re.compile(r"^(Args|Returns|Yields|Raises|Example):$", re.MULTILINE)
_FIELD = re.compile(r" = field\(default=(\(\)|[^,)]*).*\)$")
_ENTRY = re.compile(r"^    (\*{0,2}[\w.]+): ", re.MULTILINE)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, kw_only=True)
class Named:
    """A public name and what the source says of it."""

    name: str
    """The name."""
    node: ast.stmt
    """Where it is bound."""
    text: str
    """Its docstring."""


def module_names() -> list[str]:
    """Every module of both packages that holds something."""
    paths = sorted(path for path in SRC.rglob("*.py") if path.name != "__init__.py")
    return [".".join(path.relative_to(SRC).with_suffix("").parts) for path in paths]


def parse(module: str) -> ast.Module:
    """The source of a module, as a tree."""
    return ast.parse(SRC.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8"))


def public_names(owner: ast.Module | ast.ClassDef) -> Iterator[Named]:
    """The names that a module or a class makes for others; type variables and loggers are its own business."""
    for node, following in zip(owner.body, [*owner.body[1:], None], strict=True):
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield Named(name=node.name, node=node, text=ast.get_docstring(node) or "")
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not _PRIVATE_VALUE.match(ast.unparse(node.value or node)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            for name in map(ast.unparse, names):
                if name.isidentifier() and not name.startswith("_"):
                    yield Named(name=name, node=node, text=_docstring(following))


def _docstring(node: ast.stmt | None) -> str:
    """The docstring that follows a value, empty where another statement does."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


def pages() -> dict[Path, str]:
    """Each page and its text."""
    users = {HERE / f"{package}.md": _page_for_users(package, names) for package, names in FOR_USERS.items()}
    return {**users, HERE / "internals.md": _page_of_internals()}


def _page_for_users(package: str, names: tuple[str, ...]) -> str:
    return f"# Reference: {package}\n\n{MADE}\n" + "".join(_module(name) for name in names)


def _page_of_internals() -> str:
    public = {name for names in FOR_USERS.values() for name in names}
    told = "The parts that only the packages themselves use. They may change with any version."
    text = f"# Reference: internals\n\n{told} {MADE}\n"
    for name in module_names():
        if name not in public:
            tree = parse(name)
            text += f"\n## {name}\n\n{_summary(ast.get_docstring(tree) or '')}\n"
            entries = [f"- `{item.name}`: {_summary(item.text) or _value(item.node)}" for item in public_names(tree)]
            text += "\n" + "\n".join(entries) + "\n" if entries else ""
    return text


def _value(node: ast.stmt) -> str:
    return f"`{ast.unparse(node.value)}`" if isinstance(node, ast.Assign | ast.AnnAssign) and node.value else ""


def _module(name: str) -> str:
    tree = parse(name)
    text = f"\n## {name}\n\n{_markdown(ast.get_docstring(tree) or '')}\n"
    for item in public_names(tree):
        text += _class(item.node) if isinstance(item.node, ast.ClassDef) else _entry("###", item.name, item)
    return text


def _class(node: ast.ClassDef) -> str:
    members = list(public_names(node))
    fields = [item for item in members if isinstance(item.node, ast.AnnAssign | ast.Assign)]
    text = f"\n### {node.name}\n\n{_heading_of(node, fields)}\n\n{_markdown(ast.get_docstring(node) or '')}\n"
    if fields:
        text += "\n" + "\n".join(f"- `{item.name}`: {item.text}" for item in fields) + "\n"
    methods = [item for item in members if isinstance(item.node, Function)]
    return text + "".join(_entry("####", f"{node.name}.{item.name}", item) for item in methods)


def _heading_of(node: ast.ClassDef, fields: list[Named]) -> str:
    """How an instance is made, or what the class is made from."""
    inits = [item for item in node.body if isinstance(item, Function) and item.name == "__init__"]
    if inits:
        return _code("text", _signature(node.name, inits[0]))
    if any("dataclass" in ast.unparse(item) for item in node.decorator_list):
        keyword_only = any("kw_only=True" in ast.unparse(item) for item in node.decorator_list)
        plain = [] if keyword_only else [item for item in fields if "kw_only=True" not in ast.unparse(item.node)]
        named = [item for item in fields if item not in plain]
        shown = [_FIELD.sub(r" = \1", ast.unparse(item.node)) for item in [*plain, *named]]
        shown[len(plain) : len(plain)] = ["*"] if named else []
        return _code("text", _joined(node.name, shown, ""))
    return f"A `{', '.join(ast.unparse(base) for base in node.bases)}`."


def _entry(level: str, title: str, item: Named) -> str:
    node = item.node
    if not isinstance(node, Function):
        return f"\n{level} {title}\n\n{item.text}\n"
    is_property = any(ast.unparse(decorator) == "property" for decorator in node.decorator_list)
    signature = "" if is_property else _code("text", _signature(node.name, node)) + "\n\n"
    return f"\n{level} {title}\n\n{signature}{_markdown(item.text)}\n"


def _signature(name: str, node: Function) -> str:
    """The parameters without `self`, and what is returned, as the source spells it."""
    given = node.args
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    shown = [_parameter(item, default) for item, default in zip(plain, defaults, strict=True)]
    if plain and plain[0].arg in ("self", "cls"):
        shown = shown[1:]
    if given.vararg:
        shown.append(f"*{ast.unparse(given.vararg)}")
    elif given.kwonlyargs:
        shown.append("*")
    shown += [_parameter(*pair) for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg:
        shown.append(f"**{ast.unparse(given.kwarg)}")
    returned = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    return _joined(("async " if isinstance(node, ast.AsyncFunctionDef) else "") + name, shown, returned)


def _parameter(item: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(item) + (f" = {ast.unparse(default)}" if default else "")


def _joined(name: str, parameters: list[str], returned: str) -> str:
    """A signature in one line, or with one parameter a line."""
    line = f"{name}({', '.join(parameters)}){returned}".replace("'", '"')
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {item}," for item in parameters), f"){returned}"]).replace("'", '"')


def _summary(docstring: str) -> str:
    return " ".join(docstring.partition("\n\n")[0].split())


def _code(language: str, text: str) -> str:
    return f"```{language}\n{textwrap.dedent(text.strip(chr(10))).rstrip()}\n```"


def _markdown(docstring: str) -> str:
    """A Google-style docstring as Markdown."""
    parts = _SECTION.split(docstring)
    blocks = [_prose(parts[0].strip())]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        if title == "Example":
            example, _, rest = body.strip("\n").partition("\n\n" if ">>>" in body else "\0")
            blocks += ["Example:", _code("pycon" if ">>>" in body else "text", example), _prose(rest.strip())]
        elif title in ("Args", "Raises"):
            blocks += [f"{title}:", _entries(body.strip("\n"))]
        else:
            blocks.append(f"{title}: {' '.join(body.split())}")
    return "\n\n".join(block for block in blocks if block)


def _prose(text: str) -> str:
    """Paragraphs; what is indented is a figure."""
    blocks = [_code("text", item) if item.startswith("    ") else " ".join(item.split()) for item in text.split("\n\n")]
    return "\n\n".join(blocks).replace("```\n\n```text\n", "\n")


def _entries(body: str) -> str:
    pieces = _ENTRY.split(body)
    pairs = zip(pieces[1::2], pieces[2::2], strict=True)
    return "\n".join(f"- `{name}`: {' '.join(told.split())}" for name, told in pairs) or " ".join(body.split())


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
