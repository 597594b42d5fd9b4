"""What an import did, or would do."""

from __future__ import annotations

from dataclasses import dataclass, field

from storage.errors import RowProblem

MOST_PROBLEMS = 1000
"""How many bad rows a report has at most; the import stops looking there."""


@dataclass(kw_only=True)
class TableReport:
    """What became of one table."""

    table: str
    """The table."""
    inserted: int = 0
    """Records that were not there."""
    updated: int = 0
    """Records that were there and differ."""
    unchanged: int = 0
    """Records that were there just so."""
    removed: int = 0
    """Records that were there and are not in the archive; 0 when merging."""


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import did, or, where it was a dry run, would do."""

    dry_run: bool
    """Whether nothing was changed."""
    tables: tuple[TableReport, ...]
    """The tables of the archive, those first to which others refer."""
    problems: tuple[RowProblem, ...] = ()
    """The bad rows; always none but in a dry run, since an import of bad rows fails."""
    complete: bool = True
    """Whether all of the archive was looked at; False where there are more bad rows than a report may have."""

    @property
    def ok(self) -> bool:
        """Whether there is no bad row."""
        return not self.problems


class TooManyProblems(Exception):
    """There are more bad rows than a report may have."""


@dataclass(kw_only=True)
class Problems:
    """The bad rows found so far."""

    found: list[RowProblem] = field(default_factory=list)
    """In the order in which they were found."""

    def add(self, *, file: str, line: int | None, column: str | None, message: str) -> None:
        """Note a bad row.

        Raises:
            TooManyProblems: The report is full.
        """
        if len(self.found) == MOST_PROBLEMS:
            raise TooManyProblems
        self.found.append(RowProblem(file=file, line=line, column=column, message=message))

    def sorted(self, files: list[str]) -> tuple[RowProblem, ...]:
        """All of them, by file and line.

        Args:
            files: The files in their order.
        """
        return tuple(sorted(self.found, key=lambda problem: (files.index(problem.file), problem.line or 0)))
