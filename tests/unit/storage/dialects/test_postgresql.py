from __future__ import annotations

import pytest

from storage.dialects.postgresql import POSTGRESQL
from storage.errors import DatabaseBusy, DatabaseDamaged, DatabaseUnavailable, StorageError


class ServerError(Exception):
    """As psycopg raises it.

    Args:
        sqlstate: https://www.postgresql.org/docs/current/errcodes-appendix.html.
    """

    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("could not read block 7 in file base/5/16384")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("XX001", DatabaseDamaged),
        ("XX002", DatabaseDamaged),
        ("55P03", DatabaseBusy),
        ("53100", DatabaseUnavailable),
        (None, DatabaseUnavailable),
    ],
)
def test_kinds_of_errors(state: str | None, kind: type[StorageError]) -> None:
    meaning = POSTGRESQL.translate(ServerError(state))
    assert type(meaning) is kind
    assert "block" not in str(meaning)


def test_what_is_no_error_of_a_database_has_no_meaning() -> None:
    assert POSTGRESQL.translate(ServerError("42601")) is None
    assert POSTGRESQL.translate(ValueError("no")) is None
