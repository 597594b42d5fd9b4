"""What was seen of a damaged database, which nobody else remembers: a later call may read pages that are sound."""

from __future__ import annotations

from datetime import UTC, datetime


class _Sight:
    """Of the one database of this process."""

    at: datetime | None = None


_sight = _Sight()


def note_damage() -> None:
    """Remember that damage of the database was seen now."""
    _sight.at = datetime.now(UTC)


def damage_seen_at() -> datetime | None:
    """When damage was seen last, in UTC; None if none was since the database was opened, restored or found sound.

    Example:
        >>> forget_damage()
        >>> print(damage_seen_at())
        None
    """
    return _sight.at


def forget_damage() -> None:
    """Forget it: the database is another one now, or was found sound."""
    _sight.at = None
