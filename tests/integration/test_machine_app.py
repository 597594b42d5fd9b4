"""The example machine app, served by uvicorn in a process of its own."""

from __future__ import annotations

import ast
import asyncio
import re
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from connectrpc.code import Code

from communication.client import ConnectClient
from communication.errors import RpcError
from tests.conftest import Need
from tests.e2e.conftest import Server
from tests.serving import PATIENCE

EMITTED = ("app.proto", "app.proto.lock")


class Machine:
    """A copy of the example with a database of its own, and what starts and stops it."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.example = shutil.copytree(project / "examples" / "machine_app", folder / "machine_app")
        self.folder = folder
        self.server = Server("main:app", folder, self.example)

    def restart(self) -> None:
        self.server.stop()
        self.server = Server("main:app", self.folder, self.example)


@pytest.fixture
def machine(project: Path, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(project, tmp_path)
    yield machine
    machine.server.stop()


@pytest.fixture
async def client(machine: Machine) -> AsyncIterator[ConnectClient]:
    async with ConnectClient(machine.server.url, timeout=PATIENCE, headers={"X-User": "ada"}) as client:
        yield client


async def refused(call: Any, code: Code, text: str) -> None:
    with pytest.raises(RpcError, match=text) as caught:
        await call
    assert caught.value.code is code


def test_the_contract_in_the_source_tree_is_what_the_app_emits(machine: Machine, project: Path) -> None:
    kept = project / "examples" / "machine_app" / "proto"
    for name in EMITTED:
        assert (machine.example / "proto" / name).read_text() == (kept / name).read_text(), f"start the example: {name}"


def test_the_contract_passes_buf_lint(project: Path, need: Need) -> None:
    proto = project / "examples" / "machine_app" / "proto" / "app.proto"
    home = Path("module/vention/app/v1")  # buf wants a file in the folder that its package names
    home.mkdir(parents=True)
    shutil.copy(proto, home)
    subprocess.run([need("buf"), "lint", "module"], check=True)


async def test_a_job_runs_from_the_queue_to_its_end_and_the_screens_see_it(client: ConnectClient) -> None:
    created = await client.call("JobsCreateRecord", {"record": {"recipe_id": 1, "operator_id": 1, "boxes": 2}})
    job = created.record.id
    async with aclosing(client.stream("WatchMachine", timeout=PATIENCE)) as states:
        assert (await anext(states)).mode == "IDLE"
        await client.call("StartJob", {"job_id": job})
        assert vars(await anext(states)) == {"mode": "RUNNING", "job_id": job, "boxes_placed": 0, "boxes_total": 2}
        await client.call("PlaceBox")
        assert (await anext(states)).boxes_placed == 1
        assert (await client.call("PlaceBox")).mode == "IDLE"
        assert (await anext(states)).mode == "IDLE"
    done = (await client.call("JobsGetRecord", {"record_id": job})).record
    assert (done.state, done.boxes_placed) == ("DONE", 2)
    assert done.queued_at <= done.started_at <= done.finished_at


async def test_only_one_job_runs_also_when_many_start_at_once(client: ConnectClient) -> None:
    await client.call("JobsListRecords")
    starts = [client.call("StartJob", {"job_id": 1 + number % 2}) for number in range(8)]
    outcomes = await asyncio.gather(*starts, return_exceptions=True)
    started = {outcome.job_id for outcome in outcomes if not isinstance(outcome, BaseException)}
    assert len(started) == 1
    listed = (await client.call("JobsListRecords")).records
    assert [job.state for job in listed].count("RUNNING") == 1


async def test_what_the_hooks_refuse_says_why(client: ConnectClient) -> None:
    heavy = {"name": "Anvils", "box_mass_kg": 99.0}
    pattern = {"box_length_mm": 300, "box_width_mm": 200, "box_height_mm": 150, "layers": [{"columns": 4, "rows": 3}]}
    invalid, condition = Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION
    recipe = client.call("RecipesCreateRecord", {"record": {**heavy, "pattern": pattern}})
    await refused(recipe, invalid, "would weigh 1188 kg")
    skipped = client.call("JobsUpdateRecord", {"record_id": 1, "record": {"state": "DONE"}})
    await refused(skipped, invalid, "queued and cannot become done")
    await client.call("StartJob", {"job_id": 1})
    await refused(client.call("StartJob", {"job_id": 2}), invalid, "job 1 is running")
    await refused(client.call("JobsDeleteRecord", {"record_id": 1}), invalid, "job 1 is running")
    await refused(client.call("StartJob", {"job_id": 99}), Code.NOT_FOUND, "there is no job 99")
    await client.call("AbortJob")
    await refused(client.call("PlaceBox"), condition, "no job is running")
    await client.call("RecipesDeleteRecord", {"record_id": 1})
    gone = client.call("JobsCreateRecord", {"record": {"recipe_id": 1, "boxes": 1}})
    await refused(gone, invalid, "recipe Oat bars was deleted")
    nowhere = client.call("JobsCreateRecord", {"record": {"recipe_id": 7, "boxes": 1}})
    await refused(nowhere, condition, "does not exist")


async def test_a_refused_step_is_told_to_nobody(client: ConnectClient) -> None:
    async with aclosing(client.stream("WatchMachine", timeout=PATIENCE)) as states:
        assert (await anext(states)).mode == "IDLE"
        await client.call("StartJob", {"job_id": 1})
        assert (await anext(states)).job_id == 1
        await refused(client.call("StartJob", {"job_id": 2}), Code.INVALID_ARGUMENT, "is running")
        await client.call("PlaceBox")
        assert (await anext(states)).boxes_placed == 1


async def test_a_change_of_another_job_does_not_make_the_cell_look_idle(client: ConnectClient) -> None:
    await client.call("StartJob", {"job_id": 1})
    await client.call("JobsUpdateRecord", {"record_id": 2, "record": {"boxes": 5}})
    async with aclosing(client.stream("WatchMachine", timeout=PATIENCE)) as states:
        assert (await anext(states)).job_id == 1


async def test_decimals_and_json_come_back_as_they_were_sent(client: ConnectClient) -> None:
    sent: dict[str, Any] = {
        "tool": "suction cup",
        "offset_x_mm": Decimal("0.1250"),
        "offset_y_mm": Decimal("-12345.6789"),
        "offset_z_mm": Decimal(0),
        "measured": {"probe": None, "runs_mm": [1, 2.5], "unit": {"serial": "Ä-7"}},
    }
    created = (await client.call("ToolCalibrationsCreateRecord", {"record": sent})).record
    read = (await client.call("ToolCalibrationsGetRecord", {"record_id": created.id})).record
    offsets = [Decimal(read.offset_x_mm), Decimal(read.offset_y_mm), Decimal(read.offset_z_mm)]
    assert offsets == [sent["offset_x_mm"], sent["offset_y_mm"], sent["offset_z_mm"]]
    assert read.measured == sent["measured"]
    pattern = (await client.call("RecipesGetRecord", {"record_id": 1})).record.pattern
    assert [(layer.columns, layer.rows, layer.rotated) for layer in pattern.layers] == [(4, 4, False), (4, 4, True)]


async def test_the_trail_names_who_did_it(client: ConnectClient, machine: Machine) -> None:
    await client.call("StartJob", {"job_id": 1})
    await client.call("OperatorsDeleteRecord", {"record_id": 1}, headers={"X-User": "maria"})
    await client.call("OperatorsRestoreRecord", {"record_id": 1, "actor": "boss"})
    with closing(sqlite3.connect(machine.folder / "storage.db")) as connection:
        rows = connection.execute("SELECT component, record_id, operation, actor FROM auditlog ORDER BY id")
        trail = [row for row in rows if row[3] != "commissioning"]
    assert trail == [
        ("jobs", 1, "update", "ada"),
        ("operators", 1, "soft_delete", "maria"),
        ("operators", 1, "restore", "boss"),
    ]


async def test_a_cell_that_was_switched_off_goes_on_where_it_was(machine: Machine, client: ConnectClient) -> None:
    await client.call("StartJob", {"job_id": 2})
    await client.call("PlaceBox")
    machine.restart()
    async with ConnectClient(machine.server.url, timeout=PATIENCE) as again:
        async with aclosing(again.stream("WatchMachine")) as states:
            state = await anext(states)
        assert (state.job_id, state.boxes_placed) == (2, 1)
        assert len((await again.call("JobsListRecords")).records) == 2


async def test_the_first_page_shows_python_that_works(machine: Machine) -> None:
    async with httpx.AsyncClient() as http:
        page = (await http.get(machine.server.url)).raise_for_status().text
    (program,) = (
        unescape(block) for block in re.findall(r"<pre><code>(from communication.*?)</code>", page, re.DOTALL)
    )
    names: dict[str, Any] = {}
    code = compile(program, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    await eval(code, names)  # noqa: S307 - the page is ours
    assert [recipe.name for recipe in names["response"].records] == ["Oat bars"]


def test_the_first_page_shows_commands_that_work(machine: Machine) -> None:
    page = httpx.get(machine.server.url).raise_for_status().text
    blocks = [unescape(block) for block in re.findall(r"<pre><code>(curl .*?)</code></pre>", page, re.DOTALL)]
    assert len(blocks) == 34
    answers = {}
    for block in blocks:
        arguments = shlex.split(block.replace("\\\n", ""))
        done = subprocess.run([*arguments, "-w", "%{http_code}"], capture_output=True, text=True, check=True)
        answers[arguments[2].rpartition("/")[2]] = done.stdout[-3:]
    assert {name: status for name, status in answers.items() if status != "200"} == {
        "RecipesUpdateRecord": "409",  # the record that the command before it made has that name
        "OperatorsUpdateRecord": "409",
        "JobsRestoreRecord": "400",  # these are deleted for good
        "ToolCalibrationsRestoreRecord": "400",
        "DatabaseRestoreSqlite": "400",  # these take a file, which a sample of text is not
        "DatabaseImportZip": "400",
    }
