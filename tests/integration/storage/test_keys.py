"""Keys of every kind, and that none is given out twice."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine

from storage.accessor import ModelAccessor
from storage.errors import ConfigurationError, ConstraintViolation, RecordInvalid
from tests.integration.storage.conftest import Audit
from tests.integration.storage.models import Bin, Part, Sample, Ticket


def got(accessor: ModelAccessor[Any], key: Any) -> Any:
    record = accessor.get(key)
    assert record is not None
    return record


def test_a_big_key(engine: Engine) -> None:
    tickets = ModelAccessor(Ticket, "tickets")
    first = tickets.insert(Ticket())
    big = tickets.insert(Ticket(id=2**53 + 1))

    assert first.id == 1
    assert got(tickets, 2**53 + 1).id == big.id
    assert tickets.insert(Ticket()).id == 2**53 + 2
    assert tickets.delete(2**53 + 1) is True


def test_a_text_as_key(engine: Engine, audit: Audit) -> None:
    parts = ModelAccessor(Part, "parts")
    parts.insert(Part(number="M8 x 20 größer"))
    parts.insert_many([Part(number="a"), Part(number="B")])
    part = got(parts, "M8 x 20 größer")
    part.weight = 2.5
    parts.save(part)
    parts.save(Part(number="new"))

    assert {part.number for part in parts.all()} == {"M8 x 20 größer", "a", "B", "new"}
    assert parts.delete_many(["a", "B"]) == 2
    assert parts.restore("a") is True
    assert [(entry.record_id, entry.record_key) for entry in audit()[:1]] == [(None, "M8 x 20 größer")]
    for bad in ("\x00", "\ud800"):
        with pytest.raises(RecordInvalid):
            parts.insert(Part(number=bad))
    with pytest.raises(RecordInvalid, match="number"):
        parts.insert(Part(number=None))  # type: ignore[arg-type]


def test_the_longest_names_of_all_fit_into_every_index(engine: Engine, audit: Audit) -> None:
    signs = "".join(chr(0x10000 + number * 97) for number in range(500))  # which no index could compress
    parts = ModelAccessor(Part, signs[:100])
    parts.insert(Part(number=signs), actor=signs)

    assert got(parts, signs).number == signs
    (entry,) = audit()
    assert (entry.component, entry.record_key, entry.actor) == (signs[:100], signs, signs)


def test_longer_names_are_refused(engine: Engine) -> None:
    parts = ModelAccessor(Part, "parts")
    with pytest.raises(RecordInvalid, match="number must have at most 500 characters"):
        parts.insert(Part(number="x" * 501))
    with pytest.raises(RecordInvalid, match="actor must be one line of at most 500 characters"):
        parts.insert(Part(number="x"), actor="x" * 501)
    with pytest.raises(ConfigurationError, match="at most 100"):
        ModelAccessor(Part, "x" * 101)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_text_that_is_too_long_for_an_index_says_so(bins: ModelAccessor[Bin]) -> None:
    code = "".join(chr(0x10000 + number * 97) for number in range(5000))

    with pytest.raises(ConstraintViolation, match="a value is too long for an index of the table"):
        bins.insert(Bin(code=code))


def test_pages_over_text_keys_miss_and_repeat_nothing(engine: Engine) -> None:
    parts = ModelAccessor(Part, "parts")
    names = ["", "B", "a", "ä", "Z", "ß", "10", "9", "b-1", "b_1", "b 1"]
    parts.insert_many(Part(number=name) for name in names)
    seen, after = [], None
    while page := parts.page(size=2, after=after):
        seen += [part.number for part in page]
        after = seen[-1]

    assert sorted(seen) == sorted(names)
    assert seen == [part.number for part in parts.all()]


def test_a_uuid_as_key(engine: Engine, audit: Audit) -> None:
    samples = ModelAccessor(Sample, "samples")
    sample = samples.insert(Sample(label="a"))
    given = samples.save(Sample(id=uuid4(), label="b"))

    assert isinstance(sample.id, UUID)
    assert got(samples, sample.id) == sample
    assert got(samples, str(given.id)) == given
    assert len(samples.page(size=1)) == 1
    assert samples.delete(sample.id) is True
    assert [entry.record_key for entry in audit()] == [str(sample.id), str(given.id), str(sample.id)]
    assert {entry.record_id for entry in audit()} == {None}


def test_the_id_of_a_deleted_record_does_not_come_back(bins: ModelAccessor[Bin]) -> None:
    bins.insert_many([Bin(code="A1"), Bin(code="A2")])
    bins.delete(2)

    assert bins.insert(Bin(code="A3")).id == 3
    bins.delete_many([1, 3])
    assert [bin_.id for bin_ in bins.insert_many([Bin(code="A4"), Bin(code="A5")])] == [4, 5]
    assert ModelAccessor(Bin, "bins").insert(Bin(code="A6")).id == 6


def test_ids_run_out_with_an_error(bins: ModelAccessor[Bin]) -> None:
    bins.insert(Bin(id=2**31 - 1, code="A1"))

    for insert in (lambda: bins.insert(Bin(code="A2")), lambda: bins.insert_many([Bin(code="A2"), Bin(code="A3")])):
        with pytest.raises((RecordInvalid, ConfigurationError), match="BigInteger"):
            insert()
    assert len(bins.all()) == 1
