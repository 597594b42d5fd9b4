"""How the cost of an operation grows with the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from random import Random

from bench.contenders.product import Product
from bench.figure import Figure, growth
from bench.part import Part, fill, new_part, new_parts
from bench.plan import Plan
from bench.rounds import in_turn
from bench.sample import Sample, clocked
from storage.scope import Scope
from storage.writer import write

_SMALL = 1_000
_PAGE = 100
_NEVER_REACHED = 10_000_000
_PREPARED = 4_000


def measure(plan: Plan) -> Iterator[Figure]:
    """Measure in a small and in a large table, whose records the trail knows."""
    sizes = {"large": plan.large, "small": _SMALL}
    for name, size in sizes.items():
        product = Product(plan.directory / f"{name}.db")
        fill(product.path, size, audited=True)
    section = f"Cost with {plan.large:,} records / cost with {_SMALL:,}, audited, FULL"
    for operation, target in _TARGETS.items():
        contenders = {name: partial(_measure, plan, name, size, operation) for name, size in sizes.items()}
        samples = in_turn(plan.rounds, contenders)
        yield growth(section, operation, samples["large"], samples["small"], target=target)


def _measure(plan: Plan, name: str, size: int, operation: str) -> Sample:
    product = Product(plan.directory / f"{name}.db")
    product.insert(new_part())  # the first write of an accessor looks at the trail
    return _OPERATIONS[operation](plan, product, size)


def _get(plan: Plan, product: Product, size: int) -> Sample:
    return clocked(product.get, _keys(size), plan.seconds)


def _insert(plan: Plan, product: Product, _size: int) -> Sample:
    return clocked(product.insert, new_parts(_PREPARED), plan.seconds)


def _page(plan: Plan, product: Product, size: int) -> Sample:
    page = product.accessor.page
    return clocked(lambda after: page(size=_PAGE, after=after), _keys(size - _PAGE), plan.seconds)


def _limited(plan: Plan, product: Product, _size: int) -> Sample:
    writes, codec = product.accessor.writes, product.accessor.codec

    def create(part: Part) -> None:  # as CreateRecord does it
        def work(scope: Scope) -> None:
            with writes.limited(scope, _NEVER_REACHED):
                writes.insert(scope, [part], "bench", [codec.validate(part)])

        write(work)

    return clocked(create, new_parts(_PREPARED), plan.seconds)


def _keys(size: int) -> list[int]:
    random = Random(1)  # noqa: S311 - which records are read is no secret
    return [random.randint(1, size) for _ in range(50_000)]


_OPERATIONS: Mapping[str, Callable[[Plan, Product, int], Sample]] = {
    "get": _get,
    "insert": _insert,
    f"page of {_PAGE}": _page,
    "create with a record limit": _limited,
}
_TARGETS: Mapping[str, float | None] = {
    "get": 1.5,
    "insert": 1.5,
    f"page of {_PAGE}": 1.5,
    "create with a record limit": None,
}
