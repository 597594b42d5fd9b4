"""The headers of a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


class RequestHeaders(Mapping[str, str]):
    """The headers of a request as text; names match in any case, and of a repeated header the first value counts.

    Args:
        raw: Names, in lower case, and values, as ASGI has them.

    Example:
        >>> headers = RequestHeaders([(b"x-user", b"ada"), (b"x-user", b"bob")])
        >>> headers["X-User"], len(headers), headers.get("x-line")
        ('ada', 1, None)
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        wanted = name.lower().encode()
        for key, value in self._raw:
            if key == wanted:
                return header_text(value)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.decode("latin-1") for name, _ in self._raw))

    def __len__(self) -> int:
        return len({name for name, _ in self._raw})


def header_text(value: bytes) -> str:
    """Decode the value of a header: UTF-8, or else Latin-1, in which browsers send the names of people.

    Args:
        value: The value as it was received.

    Example:
        >>> header_text("Ümit".encode()), header_text("Ümit".encode("latin-1"))
        ('Ümit', 'Ümit')
    """
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
