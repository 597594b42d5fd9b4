"""The error tree, and its form on the wire."""

from __future__ import annotations

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from protobuf.wkt import Any as AnyMessage

from communication.errors import (
    CommunicationError,
    ContractError,
    FieldViolation,
    RpcError,
    from_connect_error,
    to_connect_error,
)


def test_every_error_is_a_communication_error_and_says_what_to_do() -> None:
    for error in (ContractError("no", hint="do this"), RpcError(Code.ABORTED, "no", hint="do this")):
        assert isinstance(error, CommunicationError)
        assert error.hint == "do this"
        assert str(error) == "no; do this"
    assert CommunicationError("no").hint is None


def test_an_rpc_error_keeps_code_message_and_violations_through_connect() -> None:
    violations = (FieldViolation(field="items[2].name", description="is required"),)
    error = RpcError(Code.INVALID_ARGUMENT, "the request is invalid", violations=violations)

    back = from_connect_error(to_connect_error(error))

    assert (back.code, back.message, back.violations) == (error.code, error.message, violations)


def test_the_detail_is_a_google_rpc_bad_request() -> None:
    error = RpcError(Code.INVALID_ARGUMENT, "no", violations=[FieldViolation(field="a", description="b")])
    detail = to_connect_error(error).details[0]
    assert detail.type_name == "google.rpc.BadRequest"
    assert detail.message_bytes == b"\x0a\x06\x0a\x01a\x12\x01b"


def test_without_violations_there_is_no_detail() -> None:
    assert list(to_connect_error(RpcError(Code.NOT_FOUND, "no")).details) == []


@pytest.mark.parametrize("type_name", ["google.rpc.BadRequest", "google.rpc.RetryInfo"])
def test_a_detail_that_cannot_be_read_is_passed_over(type_name: str) -> None:
    detail = ErrorDetail(AnyMessage(type_url=f"type.googleapis.com/{type_name}", value=b"\xff"))
    assert from_connect_error(ConnectError(Code.INVALID_ARGUMENT, "no", [detail])).violations == ()


def test_a_violation_of_the_whole_request_has_no_field() -> None:
    assert str(FieldViolation(field="", description="must be an object")) == "must be an object"
    assert str(FieldViolation(field="a", description="is required")) == "a is required"
