"""The house keeps its order: who may import whom, what an import loads, and which names users can count on."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"

ORDER = {
    "communication": (
        "errors",
        "naming",
        "headers",
        "context",
        "streams",
        "entries",
        "decorators",
        "contract",
        "wire",
        "codec",
        "answers",
        "unary",
        "service",
        "samples",
        "index_page",
        "app",
        "client",
    ),
    "storage": (
        "errors",
        "hooks",
        "owner",
        "collector",
        "damage",
        "dialects",
        "statements",
        "outcomes",
        "scope",
        "write_job",
        "group_commit",
        "readers",
        "database",
        "columns",
        "values",
        "records",
        "reader",
        "writer",
        "auditor",
        "trail",
        "schema",
        "references",
        "table",
        "audited_table",
        "accessor",
        "transfer",
        "health",
        "diagram",
        "bootstrap",
        "rpc",
        "vention_communication",
    ),
}
"""The rooms of each package: the files of a room (a module, or a folder of modules) import only from rooms above it,
and within the room without a circle."""

MAY_IMPORT_COMMUNICATION = ("rpc", "vention_communication")
"""The rooms of storage that may import communication."""


@dataclass(frozen=True, kw_only=True)
class Import:
    """One import statement of our own modules, as it stands in the source."""

    importer: str
    imported: str
    where: str
    late: bool
    """It stands inside a function."""


def module_name(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


def names_imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        assert node.module is not None
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            yield submodule if exists(submodule) else node.module


def exists(module: str) -> bool:
    path = SRC.joinpath(*module.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imports() -> Iterator[Import]:
    for path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        late = {id(inner) for function in functions for inner in ast.walk(function)}
        for node in ast.walk(tree):
            for name in names_imported(node):
                where = f"{path.relative_to(SRC.parent)}:{getattr(node, 'lineno', 0)}"
                yield Import(importer=module_name(path), imported=name, where=where, late=id(node) in late)


def own_imports() -> list[Import]:
    return [found for found in imports() if found.imported.split(".")[0] in ORDER]


def room(module: str) -> tuple[str, str]:
    package, _, rest = module.partition(".")
    return package, rest.split(".")[0]


def test_every_module_has_its_place_in_the_order() -> None:
    rooms = {room(module_name(path)) for path in sources() if path.parent != SRC and room(module_name(path))[1]}
    known = {(package, name) for package, names in ORDER.items() for name in names}
    assert rooms <= known, f"not in ORDER: {sorted(rooms - known)}"


def test_each_file_imports_only_from_those_above_it() -> None:
    wrong = []
    for found in own_imports():
        package, importer = room(found.importer)
        other, imported = room(found.imported)
        if package == other and imported != importer:
            assert imported, f"{found.where} imports the package {package}, which is only a docstring"
            order = ORDER[package]
            if order.index(imported) > order.index(importer):
                wrong.append(f"{found.where}: {found.importer} imports {found.imported}, which stands below it")
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_by_a_detour() -> None:
    graph: dict[str, set[str]] = {}
    for found in own_imports():
        graph.setdefault(found.importer, set()).add(found.imported)
    list(TopologicalSorter(graph).static_order())


def test_communication_knows_nothing_of_storage() -> None:
    wrong = [
        found.where
        for found in own_imports()
        if room(found.importer)[0] == "communication" and room(found.imported)[0] == "storage"
    ]
    assert not wrong


def test_only_the_top_of_storage_imports_communication() -> None:
    wrong = [
        found.where
        for found in own_imports()
        if room(found.importer)[0] == "storage"
        and room(found.imported)[0] == "communication"
        and room(found.importer)[1] not in MAY_IMPORT_COMMUNICATION
    ]
    assert not wrong


def test_no_function_imports_anything() -> None:
    late = [found.where for found in imports() if found.late]
    assert not late


@pytest.mark.parametrize("path", sorted(SRC.rglob("__init__.py")), ids=module_name)
def test_a_package_file_is_only_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


@pytest.mark.parametrize("package", ORDER)
def test_the_packages_say_that_they_are_typed(package: str) -> None:
    assert (SRC / package / "py.typed").read_bytes() == b""


@pytest.mark.parametrize(
    ("module", "must_not_load"),
    [
        ("communication.app", {"alembic", "sqlalchemy", "sqlmodel", "storage"}),
        ("communication.client", {"fastapi", "sqlalchemy", "sqlmodel", "storage", "uvicorn"}),
        ("storage.accessor", {"alembic", "communication", "connectrpc", "fastapi", "google", "psycopg"}),
        ("storage.bootstrap", {"communication", "connectrpc", "fastapi", "google", "psycopg"}),
        ("storage.vention_communication", {"psycopg", "sqlalchemy_schemadisplay", "uvicorn"}),
    ],
)
def test_an_import_loads_only_what_it_needs(module: str, must_not_load: set[str]) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & must_not_load


EMPTY = inspect.Parameter.empty

SIGNATURES: dict[str, list[tuple[str, bool, Any]]] = {
    "storage.bootstrap:bootstrap": [("database_url", True, None), ("create_tables", True, True)],
    "storage.vention_communication:build_storage_bundle": [
        ("accessors", True, EMPTY),
        ("max_records_per_model", True, 5),
        ("enable_db_actions", True, True),
    ],
    "storage.vention_communication:build_storage_rpc_bundle": [
        ("accessors", True, EMPTY),
        ("max_records_per_model", True, 5),
        ("enable_db_actions", True, True),
    ],
    "storage.accessor:ModelAccessor": [
        ("model", False, EMPTY),
        ("component_name", False, EMPTY),
        ("enable_auditing", True, True),
    ],
    "storage.accessor:ModelAccessor.get": [("id", False, EMPTY), ("include_deleted", False, False)],
    "storage.accessor:ModelAccessor.all": [("include_deleted", False, False)],
    "storage.accessor:ModelAccessor.insert": [("obj", False, EMPTY), ("actor", False, "internal")],
    "storage.accessor:ModelAccessor.save": [("obj", False, EMPTY), ("actor", False, "internal")],
    "storage.accessor:ModelAccessor.delete": [("id", False, EMPTY), ("actor", False, "internal")],
    "storage.accessor:ModelAccessor.restore": [("id", False, EMPTY), ("actor", False, "internal")],
    "storage.accessor:ModelAccessor.insert_many": [("objs", False, EMPTY), ("actor", False, "internal")],
    "storage.accessor:ModelAccessor.delete_many": [("ids", False, EMPTY), ("actor", False, "internal")],
    "storage.accessor:ModelAccessor.before_insert": [],
    "storage.accessor:ModelAccessor.after_insert": [],
    "storage.accessor:ModelAccessor.before_update": [],
    "storage.accessor:ModelAccessor.after_update": [],
    "storage.accessor:ModelAccessor.before_delete": [],
    "storage.accessor:ModelAccessor.after_delete": [],
    "storage.database:set_database_url": [("url", False, EMPTY)],
    "storage.database:get_engine": [],
    "storage.database:transaction": [],
    "storage.database:use_session": [("session", False, None)],
    "communication.app:VentionApp.add_bundle": [("bundle", False, EMPTY)],
    "communication.app:VentionApp.register_rpc_plugin": [("bundle", False, EMPTY)],
    "communication.app:VentionApp.finalize": [],
    "communication.client:ConnectClient": [("base_url", False, EMPTY)],
    "communication.decorators:action": [("name", False, None)],
    "communication.decorators:stream": [
        ("name", False, EMPTY),
        ("payload", True, EMPTY),
        ("replay", True, True),
        ("queue_maxsize", True, 1),
        ("policy", True, "latest"),
    ],
    "communication.entries:ActionEntry": [
        ("name", False, EMPTY),
        ("func", False, EMPTY),
        ("input_type", False, None),
        ("output_type", False, None),
    ],
}
"""What users can count on: name, whether it goes by keyword only, default. More keyword arguments may follow."""


def resolve(path: str) -> Any:
    module, _, name = path.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("path", SIGNATURES)
def test_a_documented_signature_stays(path: str) -> None:
    parameters = [
        parameter
        for parameter in inspect.signature(resolve(path)).parameters.values()
        if parameter.name != "self" and parameter.kind is not parameter.VAR_KEYWORD
    ]
    documented = SIGNATURES[path]
    found = [(item.name, item.kind is item.KEYWORD_ONLY, item.default) for item in parameters]
    assert found[: len(documented)] == documented
    for further in parameters[len(documented) :]:
        assert further.kind is further.KEYWORD_ONLY, f"{further} could be passed by accident"
        assert further.default is not EMPTY, f"{further} would break who does not pass it"


def test_the_app_takes_what_the_documentation_says() -> None:
    parameters = inspect.signature(resolve("communication.app:VentionApp")).parameters
    defaults = {"name": "VentionApp", "emit_proto": False, "proto_path": "proto/app.proto"}
    assert {name: parameters[name].default for name in defaults} == defaults
    assert {"cors_origins", "fastapi_options"} <= set(parameters)


def test_the_audit_log_has_the_documented_columns() -> None:
    columns = ["id", "timestamp", "component", "record_id", "operation", "actor", "before", "after"]
    assert set(columns) <= set(resolve("storage.auditor:AuditLog").model_fields)
