"""What the files of one application have in common, and what a file from outside may not have besides."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlmodel import SQLModel

# What runs code of its own, or decides which rows may be written: triggers, views, virtual tables, and the indexes that
# are unique, leave rows out or hold the results of expressions.
_EXTRAS = """
SELECT type, name, sql FROM sqlite_schema AS item
WHERE type NOT IN ('table', 'index') OR (type = 'table' AND rootpage = 0) OR (
  type = 'index' AND sql IS NOT NULL AND (
    EXISTS (SELECT 1 FROM pragma_index_list(item.tbl_name) AS list
      WHERE list.name = item.name AND (list."unique" OR list.partial))
    OR EXISTS (SELECT 1 FROM pragma_index_xinfo(item.name) WHERE cid = -2)))
"""
# What else decides in the text of a table, outside of quotes and comments: https://www.sqlite.org/lang_createtable.html
_RULES = re.compile(
    r"""'[^']*(?:'|\Z) | "[^"]*(?:"|\Z) | `[^`]*(?:`|\Z) | \[[^\]]*(?:\]|\Z) | --[^\n]* | /\*.*?(?:\*/|\Z)
      | \b(CHECK|CONFLICT|COLLATE|GENERATED|AS|STRICT|WITHOUT)\b""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)

Extra = tuple[str, str, str]
"""Type, name and SQL of something in a schema."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What the files of one application have in common."""

    page_size: int
    """In bytes."""
    encoding: str
    """In which text is kept."""
    application: int
    """The application_id, 0 where none was set."""
    extras: frozenset[Extra]
    """What is in the schema besides plain tables and indexes."""

    def beyond(self, expected: Traits) -> list[str]:
        """Name the extras that another file does not have, and that no comparison with the models looks at."""
        declared = {index.name for table in SQLModel.metadata.tables.values() for index in table.indexes}
        return sorted(
            {
                f"{kind} {name}"
                for kind, name, _ in self.extras - expected.extras
                if kind != "index" or name not in declared
            }
        )


def traits_of(connection: sqlite3.Connection) -> Traits:
    """Read the traits of a file."""

    def pragma(name: str) -> Any:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    return Traits(
        page_size=pragma("page_size"),
        encoding=pragma("encoding"),
        application=pragma("application_id"),
        extras=frozenset([*connection.execute(_EXTRAS).fetchall(), *_rules(connection)]),
    )


def _rules(connection: sqlite3.Connection) -> Iterator[Extra]:
    """The rules in the tables of the models, each with a number in the place of its SQL."""
    for table, sql in connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").fetchall():
        if table in SQLModel.metadata.tables:
            for rule, count in Counter(word.upper() for word in _RULES.findall(sql) if word).items():
                yield from ((rule, f"in {table}", str(number)) for number in range(count))
