from __future__ import annotations

import inspect

import pytest

from storage import errors
from storage.errors import DuplicateRecord, Problem, RecordInvalid, StorageError

TREE = [item for item in vars(errors).values() if inspect.isclass(item) and issubclass(item, StorageError)]


def test_the_tree_in_the_docstring_is_the_one_in_the_code() -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if line.startswith("    ")]
    parents: list[tuple[int, str]] = []
    shown = {}
    for line in lines:
        name = line.strip(" │├└─").partition(" ")[0]
        depth = line.index(name)
        parents = [parent for parent in parents if parent[0] < depth]
        shown[name] = parents[-1][1] if parents else "Exception"
        parents.append((depth, name))

    assert shown == {error.__name__: error.__bases__[0].__name__ for error in TREE}


def test_a_hint_follows_the_message() -> None:
    assert str(StorageError("it is full", hint="empty it")) == "it is full; empty it"
    assert StorageError("it is full", hint="empty it").hint == "empty it"
    assert str(StorageError("it is full")) == "it is full"


def test_an_invalid_record_tells_every_problem() -> None:
    error = RecordInvalid("User", [Problem(field="name", message="is required"), Problem(field="", message="is odd")])

    assert str(error) == "User is invalid: name is required, is odd"
    assert [problem.field for problem in error.problems] == ["name", ""]


def test_an_invalid_record_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="User"):
        raise RecordInvalid("User", [])


def test_a_duplicate_names_columns() -> None:
    assert DuplicateRecord("twice", columns=["a", "b"]).columns == ("a", "b")
    assert DuplicateRecord("twice").columns == ()
