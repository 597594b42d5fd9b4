"""A generated TypeScript client against a real server: from Node, and from a page in a browser on another origin.

`typescript/page.ts` holds the functions as the documentation prints them. With the v1 packages they compile and run
exactly so; in v2 `createPromiseClient` has become `createClient`, the only difference.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import Need, require
from tests.e2e.conftest import Serve

pytestmark = pytest.mark.e2e

HERE = Path(__file__).parent
TOOL_TIMEOUT = 180
"""Seconds that one run of a tool may take."""

NODE_PROGRAMS = ("node.ts", "transports.ts")
PROTO = "vention/app/v1/app.proto"
PAGE_IMPORT = 'import { createPromiseClient } from "@connectrpc/connect";'
PAGE_IMPORT_V2 = 'import { createClient as createPromiseClient } from "@connectrpc/connect";'


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """One generation of the Connect packages for TypeScript, as pinned in its package-lock.json."""

    folder: str
    plugins: tuple[str, ...]
    service_file: str
    sources: tuple[str, ...]
    page_import: str


V1 = Toolchain(
    folder="typescript-v1",
    plugins=("protoc-gen-es", "protoc-gen-connect-es"),
    service_file="app_connect",
    sources=("story.ts", "node.ts"),
    page_import=PAGE_IMPORT,
)
V2 = Toolchain(
    folder="typescript",
    plugins=("protoc-gen-es",),
    service_file="app_pb",
    sources=("story.ts", "node.ts", "streaming.ts", "transports.ts", "browser.ts"),
    page_import=PAGE_IMPORT_V2,
)


class Workspace:
    """A folder with one toolchain's packages and with what was written and generated for it."""

    def __init__(self, toolchain: Toolchain, folder: Path, need: Need) -> None:
        self.node, self.buf = need("node"), need("buf")
        self.folder = folder
        self.toolchain = toolchain
        modules = HERE / toolchain.folder / "node_modules"
        require(str(modules) if modules.exists() else None, f"{modules} (made by `make setup`)")
        (folder / "node_modules").symlink_to(modules)

    def run(self, *command: str) -> str:
        """Run one of the installed tools, or node itself, and return what it printed."""
        binaries = self.folder / "node_modules" / ".bin"
        environment = os.environ | {
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "BUF_CACHE_DIR": str(self.folder / "cache"),
        }
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=TOOL_TIMEOUT, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def node_json(self, *arguments: str) -> Any:
        return json.loads(self.run(self.node, *arguments))

    def write_page(self) -> None:
        """Write the page's code, after the preamble that binds what it leaves out."""
        printed = (HERE / "typescript" / "page.ts").read_text(encoding="utf-8")
        assert printed.startswith(PAGE_IMPORT)
        code = printed.replace(PAGE_IMPORT, self.toolchain.page_import)
        service = f"./gen/vention/app/v1/{self.toolchain.service_file}"
        preamble = f'import {{ MyAppService as YourServiceClient }} from "{service}";'
        (self.folder / "page.ts").write_text(f"{preamble}\n{code}", encoding="utf-8")

    def generate(self, image: bytes) -> None:
        (self.folder / "app.binpb").write_bytes(image)
        plugins = [{"local": name, "out": "gen", "opt": ["target=ts"]} for name in self.toolchain.plugins]
        template = json.dumps({"version": "v2", "plugins": plugins})
        self.run(self.buf, "generate", "app.binpb", "--path", PROTO, "--template", template)

    def compile(self) -> None:
        """Write the sources, check their types, and bundle them: for Node, and where there is one for the browser."""
        self.write_page()
        for name in ("tsconfig.json", *self.toolchain.sources):
            shutil.copy(HERE / "typescript" / name, self.folder)
        self.run("tsc", "--strict", "--project", "tsconfig.json")
        esbuild = ("esbuild", "--bundle", "--format=esm", "--log-level=warning")
        for_node = ("--platform=node", "--packages=external", "--outdir=node", "--out-extension:.js=.mjs")
        self.run(*esbuild, *for_node, *(name for name in self.toolchain.sources if name in NODE_PROGRAMS))
        if "browser.ts" in self.toolchain.sources:
            self.run(*esbuild, "--platform=browser", "--outdir=site", "browser.ts")
            (self.folder / "site" / "index.html").write_text(
                "<!doctype html><script type=module src=browser.js></script>", encoding="utf-8"
            )


@pytest.fixture(scope="module")
def server(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> str:
    return serve("tests.e2e.apps.main:app", tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def image(server: str) -> bytes:
    """The descriptor set that the server gives to clients."""
    return httpx.get(f"{server}/rpc/app.binpb").raise_for_status().content


def workspace(toolchain: Toolchain, image: bytes, need: Need, folder: Path) -> Workspace:
    space = Workspace(toolchain, folder, need)
    space.generate(image)
    space.compile()
    return space


@pytest.fixture(scope="module")
def v1(image: bytes, need: Need, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return workspace(V1, image, need, tmp_path_factory.mktemp("v1"))


@pytest.fixture(scope="module")
def v2(image: bytes, need: Need, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return workspace(V2, image, need, tmp_path_factory.mktemp("v2"))


@pytest.fixture(scope="module")
def site(v2: Workspace) -> Iterator[str]:
    """The port of a web server with the page, an origin other than the app's."""
    handler = functools.partial(QuietHandler, directory=str(v2.folder / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield str(web.server_port)
        web.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the base class gave it
        pass


def assert_is_the_story(told: dict[str, Any], others: list[str]) -> None:
    """Compare what the page's functions gave; `others` are the names of users who were there before."""
    alice = ["Alice Smith", "alice@example.com"]
    assert told == {
        "idType": "number",
        "created": ["Alice", "alice@example.com"],
        "read": ["Alice", "alice@example.com"],
        "updated": alice,
        "listed": [*others, "Alice Smith"],
        "afterDelete": {"listed": others, "get": "NotFound"},
        "restored": "Alice Smith",
        "missing": "NotFound",
    }


def user_names(server: str) -> list[str]:
    users = httpx.post(f"{server}/rpc/vention.app.v1.MyAppService/UsersListRecords", json={}).raise_for_status()
    return [user["name"] for user in users.json()["records"]]


def test_the_contract_passes_buf(v2: Workspace, server: str, image: bytes) -> None:
    module = v2.folder / "module"
    (module / PROTO).parent.mkdir(parents=True)
    (module / PROTO).write_text(httpx.get(f"{server}/rpc/app.proto").raise_for_status().text, encoding="utf-8")
    v2.run(v2.buf, "lint", "module")
    assert v2.run(v2.buf, "format", "--diff", "--exit-code", "module") == ""
    v2.run(v2.buf, "build", "module", "--output", "module.binpb")
    v2.run(v2.buf, "breaking", "app.binpb", "--against", "module.binpb", "--path", PROTO)
    v2.run(v2.buf, "breaking", "module.binpb", "--against", "app.binpb", "--path", PROTO)


def test_the_page_runs_under_node_with_the_v2_packages(v2: Workspace, server: str) -> None:
    others = user_names(server)
    assert_is_the_story(v2.node_json("node/node.mjs", server), others)


def test_the_page_runs_exactly_as_printed_with_the_v1_packages(v1: Workspace, server: str) -> None:
    printed = (HERE / "typescript" / "page.ts").read_text(encoding="utf-8")
    assert (v1.folder / "page.ts").read_text(encoding="utf-8").partition("\n")[2] == printed
    others = user_names(server)
    assert_is_the_story(v1.node_json("node/node.mjs", server), others)


def test_node_speaks_every_protocol_over_http_1(v2: Workspace, server: str) -> None:
    results = v2.node_json("node/transports.mjs", server)
    assert results.keys() == {"connect, proto", "connect, json", "grpc-web, proto", "grpc-web, json"}
    for name, result in results.items():
        assert result == {"name": name, "missing": "NotFound", "speeds": [0.25, 0.75, 1.25]}


def open_page(v2: Workspace, server: str, url: str, need: Need) -> Any:
    script = shutil.copy(HERE / "typescript" / "chromium.mjs", v2.folder)
    return v2.node_json(str(script), need("chromium"), str(urlsplit(server).port), url)


def test_a_web_page_on_another_origin_runs_the_page_and_a_stream(
    v2: Workspace, server: str, site: str, need: Need
) -> None:
    others = user_names(server)
    outcome = open_page(v2, server, f"http://127.0.0.1:{site}/", need)
    assert outcome.keys() == {"result"}, outcome
    assert_is_the_story(outcome["result"]["story"], others)
    assert outcome["result"]["connect"] == [0.25, 0.75, 1.25]
    assert outcome["result"]["grpcWeb"] == [0.25, 0.75, 1.25]


def test_a_web_page_from_elsewhere_gets_nothing(v2: Workspace, server: str, site: str, need: Need) -> None:
    before = user_names(server)
    outcome = open_page(v2, server, f"http://elsewhere.test:{site}/", need)
    assert "Failed to fetch" in outcome["error"]
    assert user_names(server) == before
