"""The contract as a whole: from actions and streams, and back from its descriptors."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from communication.contract.contract import Contract
from communication.contract.lock import Lock
from communication.contract.types import Kind
from communication.entries import ActionEntry, StreamEntry
from communication.errors import ContractError
from communication.streams import Channel


class Job(BaseModel):
    name: str
    steps: list[str] = []


def start_job(job: Job) -> Job:
    return job


def wait(seconds: float = 1.5, /) -> None:
    pass


def label(tags: list[str] = []) -> str:  # noqa: B006 - a default that handlers have
    return ",".join(tags)


def stop() -> None:
    pass


class Handler:
    def __call__(self, number: int) -> int:
        return number


def build(*actions: ActionEntry, streams: tuple[StreamEntry, ...] = (), lock: Lock | None = None) -> Contract:
    return Contract.build("my-app", actions, streams, lock)


def test_a_model_argument_becomes_the_request_itself() -> None:
    contract = build(ActionEntry("start_job", start_job, Job, Job))
    rpc = contract.rpcs[0]

    assert contract.service == "vention.app.v1.MyAppService"
    assert (rpc.name, rpc.request.name, rpc.response.name) == ("start_job", "StartJobRequest", "StartJobResponse")
    assert [field.name for field in rpc.request.fields] == ["name", "steps"]
    assert list(contract.messages) == ["StartJobRequest", "StartJobResponse"]
    job = Job(name="a")
    assert rpc.arguments(job) == (job,)
    assert rpc.outgoing(job).value is job


def test_any_other_argument_becomes_a_field_named_as_the_parameter() -> None:
    rpc = build(ActionEntry("wait", wait, float, None)).rpcs[0]
    (field,) = rpc.request.fields
    assert (field.name, field.kind, field.presence) == ("seconds", Kind.DOUBLE, True)
    assert rpc.request.python is not None
    assert rpc.arguments(rpc.request.python()) == (1.5,)
    assert rpc.arguments(rpc.request.python(2.0)) == (2.0,)


def test_a_mutable_default_is_not_shared() -> None:
    rpc = build(ActionEntry("label", label, list[str], str)).rpcs[0]
    assert rpc.request.python is not None
    first, second = rpc.request.python(), rpc.request.python()
    assert first.tags == []
    assert first.tags is not second.tags


def test_a_result_that_is_no_model_becomes_the_field_result() -> None:
    rpc = build(ActionEntry("label", label, list[str], str)).rpcs[0]
    assert [field.name for field in rpc.response.fields] == ["result"]
    assert rpc.outgoing("a").value == {"result": "a"}


def test_nothing_becomes_an_empty_message() -> None:
    rpc = build(ActionEntry("stop", stop)).rpcs[0]
    assert (rpc.request.fields, rpc.response.fields) == ((), ())
    assert rpc.arguments(None) == ()
    assert rpc.outgoing("whatever").value == {}


def test_a_callable_object_is_a_handler() -> None:
    rpc = build(ActionEntry("double", Handler(), int, int)).rpcs[0]
    assert rpc.parameter == "number"


def test_a_handler_of_any_arguments_has_a_field_value() -> None:
    rpc = build(ActionEntry("log", lambda *args: None, int)).rpcs[0]
    assert rpc.parameter == "value"


def test_a_stream_answers_an_empty_request_with_its_payload() -> None:
    entries = (StreamEntry("jobs", Channel(), Job), StreamEntry("level", Channel(), float))
    jobs, level = build(streams=entries).rpcs
    assert jobs.streaming
    assert jobs.request.fields == ()
    assert [field.name for field in jobs.response.fields] == ["name", "steps"]
    assert level.outgoing(1.5).value == {"result": 1.5}


def test_an_rpc_is_found_by_name_and_alias() -> None:
    contract = build(ActionEntry("UsersGetRecord", stop, aliases=("Users_GetRecord",)))
    assert contract.rpc("Users_GetRecord") is contract.rpc("UsersGetRecord") is contract.rpcs[0]
    assert contract.rpc("UsersDropRecord") is None
    assert "Users_GetRecord" not in contract.proto_text


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("start_job", "StartJob"), "start_job and StartJob meet"),
        (("Stop", "Stop"), "Stop and Stop meet"),
        (("größe",), "action größe has a name"),
    ],
)
def test_rpcs_that_meet_or_have_no_name_on_the_wire_are_refused(names: tuple[str, ...], text: str) -> None:
    with pytest.raises(ContractError, match=text):
        build(*(ActionEntry(name, stop) for name in names))


def test_an_alias_that_is_another_rpcs_name_is_refused() -> None:
    with pytest.raises(ContractError, match="Stop and Halt meet"):
        build(ActionEntry("Stop", stop), ActionEntry("Halt", stop, aliases=("Stop",)))
    with pytest.raises(ContractError, match="Stop and Halt meet"):
        build(ActionEntry("Halt", stop, aliases=("Stop",)), ActionEntry("Stop", stop))


def test_a_class_that_has_the_name_of_the_service_or_of_a_request_is_refused() -> None:
    class MyAppService(BaseModel):
        name: str

    class StopRequest(BaseModel):
        name: str

    for items, name in ((list[MyAppService], "MyAppService"), (list[StopRequest], "StopRequest")):
        with pytest.raises(ContractError, match=f"meet on the wire as {name}"):
            build(ActionEntry("Stop", stop), ActionEntry("Other", start_job, items))


def test_a_request_class_with_the_requests_own_name_is_no_conflict() -> None:
    class StartJobRequest(BaseModel):
        name: str

    contract = build(ActionEntry("start_job", start_job, StartJobRequest, None))
    assert contract.rpcs[0].request.python is StartJobRequest


def test_a_client_reads_the_same_contract_from_the_descriptors() -> None:
    entry = ActionEntry("start_job", start_job, Job, list[Job])
    contract = build(entry, streams=(StreamEntry("jobs", Channel(), dict[str, Any]),))

    read = Contract.from_descriptor_set(contract.descriptor_set)

    assert read.service == contract.service
    assert read.proto_text == contract.proto_text
    assert read.descriptor_set == contract.descriptor_set
    assert [rpc.streaming for rpc in read.rpcs] == [False, True]
    assert all(message.python is None for message in read.messages.values())


@pytest.mark.parametrize("data", [b"", b"\xff", b"<html>"])
def test_what_is_no_descriptor_set_of_an_app_is_refused(data: bytes) -> None:
    with pytest.raises(ContractError, match="is it another server"):
        Contract.from_descriptor_set(data)


def test_the_contract_asks_entries_for_no_more_than_it_says() -> None:
    action = SimpleNamespace(name="Stop", func=stop, input_type=None, output_type=None, aliases=())
    assert Contract.build("my-app", [action]).rpcs[0].name == "Stop"
