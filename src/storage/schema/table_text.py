"""The text of a CREATE TABLE statement, and the few changes that storage makes to it.

SQLite keeps the statement that made a table, and many of its properties stand nowhere else. So a table that is made
anew is made from that text, where whatever is not understood stays as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)
      | (?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
      | (?P<word>[\w$]+)
      | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_KEY_OF_TABLE = 5  # PRIMARY KEY ( name )


@dataclass(frozen=True, kw_only=True)
class _Token:
    """A piece of SQL."""

    kind: str
    """space, quoted, word or mark"""
    text: str
    """as it stands in the statement"""

    @property
    def word(self) -> str:
        """The keyword in capitals; empty for all that is no bare word."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def name(self) -> str:
        """The identifier without quotes, in the case-folded form in which SQLite compares names."""
        if self.kind != "quoted":
            return self.text.lower()
        quote = self.text[-1]
        return self.text[1:-1].replace(quote * 2, quote).lower()


def quote(name: str) -> str:
    """An identifier in double quotes.

    Example:
        >>> quote('the "first" axis')
        '"the ""first"" axis"'
    """
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def rename_table(sql: str, name: str) -> str:
    """The statement for the same table under another name.

    Args:
        sql: A statement `CREATE TABLE name (…)`, as SQLite keeps it.
        name: The new name, unquoted.

    Returns:
        The statement with only the name changed.

    Example:
        >>> rename_table("CREATE TABLE job (id INTEGER)", "task")
        'CREATE TABLE "task" (id INTEGER)'
    """
    tokens = _tokens(sql)
    place = [index for index, token in enumerate(tokens) if token.kind != "space"][2]
    return _text([*tokens[:place], _Token(kind="quoted", text=quote(name)), *tokens[place + 1 :]])


def has_autoincrement(sql: str) -> bool:
    """Whether the table's ids are never given out twice.

    Example:
        >>> has_autoincrement("CREATE TABLE job (id INTEGER PRIMARY KEY autoincrement)")
        True
        >>> has_autoincrement("CREATE TABLE job (id INTEGER PRIMARY KEY, autoincrement_ TEXT DEFAULT 'AUTOINCREMENT')")
        False
    """
    return any(token.word == "AUTOINCREMENT" for token in _tokens(sql))


def add_autoincrement(sql: str, key: str) -> str | None:
    """The statement for the same table with AUTOINCREMENT on its key.

    Args:
        sql: A statement `CREATE TABLE name (…)`, as SQLite keeps it.
        key: The name of its only key column, of type INTEGER.

    Returns:
        The statement, or None where the key is declared in a way that cannot be changed safely.

    Example:
        >>> add_autoincrement("CREATE TABLE job (id INTEGER NOT NULL, name TEXT, PRIMARY KEY (id))", "id")
        'CREATE TABLE job (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, name TEXT)'
    """
    tokens = _tokens(sql)
    head, items, tail = _split_body(tokens)
    columns = [index for index, item in enumerate(items) if _significant(item)[0].name == key.lower()]
    if not columns or any(token.word == "WITHOUT" for token in tail):  # WITHOUT ROWID: nothing is numbered
        return None
    declared = [index for index, item in enumerate(items) if _is_key_of_table(item, key)]
    column = items[columns[0]]
    if declared:
        items[columns[0]] = _append(column, "PRIMARY KEY AUTOINCREMENT")
        _remove(items, declared[0])
    else:
        changed = _extend_key_of_column(column)
        if changed is None:
            return None
        items[columns[0]] = changed
    return _text(head) + ",".join(_text(item) for item in items) + _text(tail)


def _tokens(sql: str) -> list[_Token]:
    return [_Token(kind=str(match.lastgroup), text=match.group()) for match in _TOKEN.finditer(sql)]


def _text(tokens: list[_Token]) -> str:
    return "".join(token.text for token in tokens)


def _significant(tokens: list[_Token]) -> list[_Token]:
    return [token for token in tokens if token.kind != "space"]


def _split_body(tokens: list[_Token]) -> tuple[list[_Token], list[list[_Token]], list[_Token]]:
    """What stands before the columns, the columns and constraints one by one, and what stands after them."""
    start = next(index for index, token in enumerate(tokens) if token.text == "(") + 1
    items: list[list[_Token]] = [[]]
    depth = 1
    for index in range(start, len(tokens)):
        token = tokens[index]
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0:
            return tokens[:start], items, tokens[index:]
        if depth == 1 and token.text == ",":
            items.append([])
        else:
            items[-1].append(token)
    raise ValueError("the statement has no closing bracket")


def _is_key_of_table(item: list[_Token], key: str) -> bool:
    tokens = _significant(item)
    if tokens[0].word == "CONSTRAINT":
        tokens = tokens[2:]
    return (
        len(tokens) == _KEY_OF_TABLE
        and [token.word for token in tokens[:2]] == ["PRIMARY", "KEY"]
        and tokens[3].name == key.lower()
    )


def _append(item: list[_Token], words: str) -> list[_Token]:
    """Put words behind the last token, before the spaces and comments that follow it."""
    end = max(index for index, token in enumerate(item) if token.kind != "space") + 1
    return [*item[:end], _Token(kind="word", text=f" {words}"), *item[end:]]


def _remove(items: list[list[_Token]], index: int) -> None:
    """Take an item out; the white space behind the last one stays."""
    removed = items.pop(index)
    if index == len(items) and removed[-1].kind == "space":
        items[-1].append(removed[-1])


def _extend_key_of_column(item: list[_Token]) -> list[_Token] | None:
    places = [index for index, token in enumerate(item) if token.kind != "space"]
    words = [item[place].word for place in places]
    for position in range(len(words) - 1):
        if words[position : position + 2] == ["PRIMARY", "KEY"]:
            end = position + 2
            if words[end : end + 1] == ["ASC"]:
                end += 1
            if words[end : end + 1] in (["DESC"], ["ON"]):
                return None
            place = places[end - 1] + 1
            return [*item[:place], _Token(kind="word", text=" AUTOINCREMENT"), *item[place:]]
    return None
