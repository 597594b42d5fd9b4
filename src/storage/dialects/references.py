"""How to say that a reference would be broken, whoever finds it."""

from __future__ import annotations

SOME_REFERENCE = "a reference points to a record that does not exist, or other records still refer to this one"
"""Where nobody knows which."""


def refers_to_nothing(column: str, table: str) -> str:
    """Say that the value of a column names no record of a table.

    Example:
        >>> refers_to_nothing("shelf_id", "shelf")
        'shelf_id refers to a record of shelf that does not exist'
    """
    return f"{column} refers to a record of {table} that does not exist"


def still_referred_to(table: str) -> str:
    """Say that records of a table refer to the one that was to go.

    Example:
        >>> still_referred_to("job")
        'records of job still refer to this one'
    """
    return f"records of {table} still refer to this one"
