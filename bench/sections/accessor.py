"""The accessor next to the driver alone and next to a session for each call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from bench.contenders.plain_session import PlainSession
from bench.contenders.product import Product, open_database
from bench.contenders.raw_driver import RawDriver
from bench.contenders.store import Store
from bench.figure import Figure, compare
from bench.part import fill, new_parts
from bench.plan import Plan
from bench.rounds import in_turn
from bench.sample import Sample, clocked, clocked_once

_PREPARED = 4_000
"""Records that an operation on single ones finds, more than it can do in its time."""
_TARGETS = {
    "insert": {"FULL": 0.60, "NORMAL": 0.35},
    "insert_many": {"FULL": 0.25, "NORMAL": 0.25},
    "get": {"FULL": 0.20, "NORMAL": 0.20},
    "all": {"FULL": 0.20, "NORMAL": 0.20},
    "save": {"FULL": 0.25, "NORMAL": 0.25},
    "delete": {"FULL": 0.40, "NORMAL": 0.40},
}
"""What the issue of the write path asks for, as a share of the driver's rate."""


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure each operation with commits that survive a power cut, and with those that may be lost in one."""
    for synchronous in ("FULL", "NORMAL"):
        stores = _open(plan, synchronous)
        try:
            for operation in _TARGETS:
                yield from _compare(plan, synchronous, operation, stores)
        finally:
            for store in stores.values():
                store.close()


def _open(plan: Plan, synchronous: str) -> Mapping[str, Store]:
    makers: Mapping[str, Callable[..., Store]] = {"raw": RawDriver, "session": PlainSession, "ours": Product}
    stores = {}
    for name, make in makers.items():
        path = plan.directory / f"{name}-{synchronous}.db"
        open_database(path)  # which makes the tables
        fill(path, plan.rows)
        stores[name] = make(path, synchronous)
    return stores


def _compare(plan: Plan, synchronous: str, operation: str, stores: Mapping[str, Store]) -> Iterator[Figure]:
    samples = in_turn(
        plan.rounds, {name: partial(_OPERATIONS[operation], plan, store) for name, store in stores.items()}
    )
    batch = operation in ("insert_many", "all")
    name = f"{operation}{f' of {plan.rows:,}' if batch else ''}, {synchronous}"
    section, unit, target = "Accessor, audited", "rows/s" if batch else "/s", _TARGETS[operation][synchronous]
    yield compare(section, name, samples["ours"], samples["raw"], against="raw driver", unit=unit, target=target)
    yield compare(section, name, samples["ours"], samples["session"], against="session per call", unit=unit)


def _insert(plan: Plan, store: Store) -> Sample:
    return clocked(store.insert, new_parts(_PREPARED), plan.seconds)


def _insert_many(plan: Plan, store: Store) -> Sample:
    return clocked_once(partial(store.insert_many, new_parts(plan.rows)), plan.rows)


def _get(plan: Plan, store: Store) -> Sample:
    keys = list(range(1, plan.rows + 1)) * 5
    return clocked(store.get, keys, plan.seconds)


def _all(_plan: Plan, store: Store) -> Sample:
    rows = len(store.all())
    return clocked_once(store.all, rows)


def _save(plan: Plan, store: Store) -> Sample:
    return clocked(store.save, store.edits(fill(store.path, _PREPARED)), plan.seconds)


def _delete(plan: Plan, store: Store) -> Sample:
    return clocked(store.delete, fill(store.path, _PREPARED), plan.seconds)


_OPERATIONS: Mapping[str, Callable[[Plan, Store], Sample]] = {
    "insert": _insert,
    "insert_many": _insert_many,
    "get": _get,
    "all": _all,
    "save": _save,
    "delete": _delete,
}
