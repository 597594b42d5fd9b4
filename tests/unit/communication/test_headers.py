"""The headers of a request as text."""

from __future__ import annotations

import pytest

from communication.headers import RequestHeaders, header_text


def test_names_match_in_any_case_and_the_first_value_counts() -> None:
    headers = RequestHeaders([(b"x-user", b"ada"), (b"accept", b"*/*"), (b"x-user", b"bob")])
    assert headers["X-User"] == headers["x-user"] == "ada"
    assert dict(headers) == {"x-user": "ada", "accept": "*/*"}
    assert len(headers) == 2
    assert "x-line" not in headers
    with pytest.raises(KeyError, match="x-line"):
        headers["x-line"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_name_is_read_in_either_encoding(encoding: str) -> None:
    assert header_text("Jérôme".encode(encoding)) == "Jérôme"
