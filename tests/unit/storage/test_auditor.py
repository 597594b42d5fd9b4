from __future__ import annotations

from typing import Any

import pytest

from storage.auditor import AuditLog, Operation, checked_actor
from storage.errors import RecordInvalid


def test_operations_are_the_words_of_the_page() -> None:
    assert {operation.value for operation in Operation} >= {"create", "update", "delete", "soft_delete", "restore"}


def test_the_trail_has_the_columns_of_the_page_and_the_key_as_text() -> None:
    page = ["id", "timestamp", "component", "record_id", "operation", "actor", "before", "after"]

    assert set(AuditLog.model_fields) == {*page, "record_key"}
    assert AuditLog.__tablename__ == "auditlog"


@pytest.mark.parametrize("actor", ["maria", "Zoë Müller", "操作员", "line 3 / robot #2", "X" * 500, "😀" * 500])
def test_whoever_has_a_name_is_an_actor(actor: str) -> None:
    assert checked_actor(actor) == actor


@pytest.mark.parametrize("actor", ["X" * 501, "", " ", "a\nb", "a\x00", "\x1b[31m", "\ud800", None, 5, b"maria"])
def test_who_has_none_is_not(actor: Any) -> None:
    with pytest.raises(RecordInvalid, match="actor"):
        checked_actor(actor)
