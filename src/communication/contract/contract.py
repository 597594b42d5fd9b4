"""The contract of an app: its service, its RPCs and messages, and what a client needs to know of them."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from communication import naming
from communication.contract.annotations import is_model
from communication.contract.descriptors import make_descriptor_set, parse_descriptor_set, read_enum, read_message
from communication.contract.lock import Lock, apply_lock
from communication.contract.messages import TypeRegistry
from communication.contract.proto_text import proto_text
from communication.contract.types import EnumType, MessageType
from communication.errors import ContractError

_RESULT = "result"
_ARGUMENT = "value"


class Action(Protocol):
    """What the contract reads of an action."""

    @property
    def name(self) -> str:
        """The RPC's name."""

    @property
    def func(self) -> Callable[..., Any]:
        """The handler, a callable of no or one argument."""

    @property
    def input_type(self) -> Any:
        """Annotation of the argument; None when the handler takes none."""

    @property
    def output_type(self) -> Any:
        """Annotation of what it returns; None when it returns nothing."""

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other names that are answered too."""


class Stream(Protocol):
    """What the contract reads of a stream."""

    @property
    def name(self) -> str:
        """The RPC's name."""

    @property
    def payload(self) -> Any:
        """Annotation of each value."""


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A value on its way out."""

    type: MessageType
    """The message that it becomes."""
    value: Any
    """A mapping or any object with the message's fields as attributes."""


@dataclass(frozen=True, kw_only=True)
class Rpc:
    """One method of the service."""

    name: str
    """Its name on the wire."""
    request: MessageType
    """What it is asked with."""
    response: MessageType
    """What it answers, each time when it streams."""
    aliases: tuple[str, ...] = ()
    """Other names that are answered too; they are in no descriptor."""
    streaming: bool = False
    """Whether it answers with a stream."""
    takes_argument: bool = False
    """Whether its handler takes an argument."""
    parameter: str | None = None
    """The request's field that is the handler's argument; None when the whole request is."""
    wraps_result: bool = False
    """Whether what the handler returns is the response's field `result`, and not the whole response."""

    def arguments(self, request: Any) -> tuple[Any, ...]:
        """Return the handler's arguments, none or one.

        Args:
            request: What the codec decoded.
        """
        if not self.takes_argument:
            return ()
        return (request,) if self.parameter is None else (getattr(request, self.parameter),)

    def outgoing(self, result: Any) -> Outgoing:
        """Return the response, ready for the codec.

        Args:
            result: What the handler returned, or one value of a stream.
        """
        if not self.response.fields:
            return Outgoing(type=self.response, value={})
        return Outgoing(type=self.response, value={_RESULT: result} if self.wraps_result else result)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Everything that an app has on the wire.

    Example:
        >>> from types import SimpleNamespace
        >>> def double(number: int) -> int:
        ...     return 2 * number
        >>> action = SimpleNamespace(name="Double", func=double, input_type=int, output_type=int, aliases=())
        >>> print(Contract.build("calculator", [action]).proto_text)
        syntax = "proto3";
        <BLANKLINE>
        package vention.app.v1;
        <BLANKLINE>
        service CalculatorService {
          rpc Double(DoubleRequest) returns (DoubleResponse);
        }
        <BLANKLINE>
        message DoubleRequest {
          int32 number = 1;
        }
        <BLANKLINE>
        message DoubleResponse {
          int32 result = 1;
        }
        <BLANKLINE>
    """

    service: str
    """The service's full name, package included."""
    rpcs: tuple[Rpc, ...]
    """Its RPCs, in the order in which they were declared."""
    messages: Mapping[str, MessageType]
    """Its messages, by name without the package."""
    enums: Mapping[str, EnumType]
    """Its enums, by name without the package."""
    lock: Lock = field(default_factory=Lock)
    """The numbers in use, those of the past included."""

    @classmethod
    def build(
        cls, app_name: str, actions: Iterable[Action], streams: Iterable[Stream] = (), lock: Lock | None = None
    ) -> Contract:
        """Return the contract of an app.

        Args:
            app_name: The app's name, from which the service's is made.
            actions: Its actions.
            streams: Its streams.
            lock: The numbers to keep; without one, the order of declaration counts.

        Raises:
            ContractError: A type that has no form on the wire, names that meet, or a field that the lock knows
                with another type.
        """
        types = TypeRegistry()
        service = naming.service_name(app_name)
        types.reserve(service, f"the service {service}")
        drafts = [_draft_action(types, item) for item in actions] + [_draft_stream(types, item) for item in streams]
        _refuse_meeting_rpcs(drafts)
        messages, enums, kept = apply_lock(lock or Lock(), types.messages, types.enums)
        rpcs = tuple(_with_types(draft, messages) for draft in drafts)
        return cls(service=f"{naming.PACKAGE}.{service}", rpcs=rpcs, messages=messages, enums=enums, lock=kept)

    @classmethod
    def from_descriptor_set(cls, data: bytes) -> Contract:
        """Return the contract that a server serves, without Python classes.

        Args:
            data: A serialized google.protobuf.FileDescriptorSet.

        Raises:
            ContractError: The data declares no app of ours.
        """
        file = parse_descriptor_set(data)
        messages = {item.name: read_message(item) for item in file.message_type}
        prefix = f".{naming.PACKAGE}."
        rpcs = tuple(
            Rpc(
                name=method.name,
                request=messages[method.input_type.removeprefix(prefix)],
                response=messages[method.output_type.removeprefix(prefix)],
                streaming=method.server_streaming,
            )
            for method in file.service[0].method
        )
        enums = {item.name: read_enum(item) for item in file.enum_type}
        return cls(service=f"{file.package}.{file.service[0].name}", rpcs=rpcs, messages=messages, enums=enums)

    def rpc(self, name: str) -> Rpc | None:
        """Return the RPC of that name or alias, None when there is none."""
        return self._rpcs_by_name.get(name)

    @cached_property
    def _rpcs_by_name(self) -> dict[str, Rpc]:
        return {name: rpc for rpc in self.rpcs for name in (rpc.name, *rpc.aliases)}

    @cached_property
    def proto_text(self) -> str:
        """The .proto file, as `buf format` would write it."""
        return proto_text(*self._declarations())

    @cached_property
    def descriptor_set(self) -> bytes:
        """A serialized google.protobuf.FileDescriptorSet, imports included, which buf takes as an image."""
        return make_descriptor_set(*self._declarations())

    def _declarations(self) -> tuple[Any, ...]:
        methods = [(rpc.name, rpc.request.name, rpc.response.name, rpc.streaming) for rpc in self.rpcs]
        service = self.service.removeprefix(f"{naming.PACKAGE}.")
        return service, methods, tuple(self.messages.values()), tuple(self.enums.values())


def _draft_action(types: TypeRegistry, action: Action) -> Rpc:
    name = naming.check_identifier(action.name, f"action {action.name}")
    request_name = naming.request_name(name)
    parameter = None
    if action.input_type is None:
        types.add_empty_message(request_name)
    elif is_model(action.input_type):
        types.add_message(action.input_type, request_name)
    else:
        parameter = _parameter(action.func)
        types.add_message(_wrapper(request_name, parameter, action), request_name)
    wraps = _add_response(types, name, action.output_type)
    return Rpc(
        name=name,
        aliases=tuple(action.aliases),
        request=MessageType(name=request_name, fields=()),
        response=MessageType(name=naming.response_name(name), fields=()),
        takes_argument=action.input_type is not None,
        parameter=None if parameter is None else parameter.name,
        wraps_result=wraps,
    )


def _draft_stream(types: TypeRegistry, stream: Stream) -> Rpc:
    name = naming.check_identifier(stream.name, f"stream {stream.name}")
    types.add_empty_message(naming.request_name(name))
    return Rpc(
        name=name,
        request=MessageType(name=naming.request_name(name), fields=()),
        response=MessageType(name=naming.response_name(name), fields=()),
        streaming=True,
        wraps_result=_add_response(types, name, stream.payload),
    )


def _add_response(types: TypeRegistry, rpc: str, annotation: Any) -> bool:
    """Add the response message of an RPC; return whether it wraps the value in a field `result`."""
    name = naming.response_name(rpc)
    if annotation in (None, type(None)):
        types.add_empty_message(name)
    elif is_model(annotation):
        types.add_message(annotation, name)
    else:
        types.add_message(dataclasses.make_dataclass(name, [(_RESULT, annotation)]), name)
        return True
    return False


def _parameter(func: Callable[..., Any]) -> inspect.Parameter:
    """Return the parameter that takes the argument."""
    for parameter in inspect.signature(func).parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            return parameter
    return inspect.Parameter(_ARGUMENT, inspect.Parameter.POSITIONAL_ONLY)


def _wrapper(name: str, parameter: inspect.Parameter, action: Action) -> type:
    """Return a dataclass of one field for an argument that is no model."""
    naming.check_identifier(parameter.name, f"parameter {parameter.name} of action {action.name}")
    entry: tuple[Any, ...] = (parameter.name, action.input_type)
    if parameter.default is not parameter.empty:
        default = parameter.default
        mutable = type(default).__hash__ is None
        made = dataclasses.field(default_factory=lambda: copy.deepcopy(default)) if mutable else default
        entry = (*entry, made)
    return dataclasses.make_dataclass(name, [entry])


def _refuse_meeting_rpcs(rpcs: Sequence[Rpc]) -> None:
    """Refuse two RPCs that a client could not tell apart, and an alias that is another RPC's name."""
    owners: dict[str, Rpc] = {}
    for rpc in rpcs:
        _claim_names(owners, rpc, (rpc.name, naming.pascal_case(rpc.name)))
    for rpc in rpcs:
        _claim_names(owners, rpc, rpc.aliases)


def _claim_names(owners: dict[str, Rpc], rpc: Rpc, names: Iterable[str]) -> None:
    for name in names:
        first = owners.setdefault(name, rpc)
        if first is not rpc:
            raise ContractError(f"the RPCs {first.name} and {rpc.name} meet on the wire", hint="rename one of them")


def _with_types(draft: Rpc, messages: Mapping[str, MessageType]) -> Rpc:
    return dataclasses.replace(draft, request=messages[draft.request.name], response=messages[draft.response.name])
