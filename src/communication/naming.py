"""Every name on the wire: package, service, RPCs, messages, fields, enum labels."""

from __future__ import annotations

import re

from communication.errors import ContractError

PACKAGE = "vention.app.v1"
"""The protobuf package of every app."""
PROTO_FILE = "vention/app/v1/app.proto"
"""The file that declares it; its folder is named like the package, as `buf lint` wants."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")
_WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z0-9])(?=[A-Z][a-z])")
_SCALAR_TYPES = {"double", "float", "bool", "string", "bytes"} | {
    f"{prefix}{size}" for prefix in ("int", "uint", "sint", "fixed", "sfixed") for size in (32, 64)
}
_KEYWORDS = {"optional", "repeated", "reserved", "oneof", "map", "message", "enum", "option", "extensions", "extend"}
_TAKEN_TYPE_NAMES = frozenset(_SCALAR_TYPES | _KEYWORDS | {"group", "stream", "google"})


def pascal_case(name: str) -> str:
    """Return the name in PascalCase: words begin where a separator ends, inner capitals stay.

    Args:
        name: Any text, such as `pick_place`, `my-app` or `Page[Job]`.

    Returns:
        The words, joined, each with a capital first letter.

    Example:
        >>> pascal_case("start_job"), pascal_case("readPLC"), pascal_case("Page[Job]")
        ('StartJob', 'ReadPLC', 'PageJob')
    """
    return "".join(word[0].upper() + word[1:] for word in _SEPARATORS.split(name) if word)


def service_name(app_name: str) -> str:
    """Return the name of an app's service, without its package.

    Args:
        app_name: The name given to the app.

    Raises:
        ContractError: No identifier can be made of the name.

    Example:
        >>> service_name("my-app")
        'MyAppService'
    """
    name = pascal_case(app_name) if app_name.isascii() else ""
    if not _IDENTIFIER.fullmatch(name):
        hint = "name it with ASCII letters, digits, - and _, a letter first"
        raise ContractError(f"the app name {app_name!r} cannot name a service", hint=hint)
    return f"{name}Service"


def component_prefix(component: str) -> str:
    """Return what the names of a component's RPCs begin with.

    Args:
        component: The component's name.

    Raises:
        ContractError: No identifier can be made of the name.

    Example:
        >>> component_prefix("pick_place") + "ListRecords"
        'PickPlaceListRecords'
    """
    prefix = pascal_case(component) if component.isascii() else ""
    if not _IDENTIFIER.fullmatch(prefix):
        hint = "name it with ASCII letters, digits, - and _, a letter first"
        raise ContractError(f"the component name {component!r} cannot name RPCs", hint=hint)
    return prefix


def legacy_component_prefix(component: str) -> str:
    """Return what the names of a component's RPCs began with before 1.0, only the first letter a capital.

    Example:
        >>> legacy_component_prefix("pick_place") + "ListRecords"
        'Pick_place_ListRecords'
    """
    return f"{component[:1].upper()}{component[1:]}_"


def canonical_rpc_name(name: str) -> str:
    """Return today's spelling of an RPC's name that is written with underscores.

    Example:
        >>> canonical_rpc_name("Pick_place_ListRecords")
        'PickPlaceListRecords'
    """
    return pascal_case(name)


def request_name(rpc: str) -> str:
    """Return the name of the request message of an RPC.

    Example:
        >>> request_name("start_job")
        'StartJobRequest'
    """
    return f"{pascal_case(rpc)}Request"


def response_name(rpc: str) -> str:
    """Return the name of the response message of an RPC.

    Example:
        >>> response_name("start_job")
        'StartJobResponse'
    """
    return f"{pascal_case(rpc)}Response"


def json_name(field: str) -> str:
    """Return a field's name in JSON, as protobuf makes it: underscores go, the letter after each becomes a capital.

    Source: https://protobuf.dev/programming-guides/json/

    Example:
        >>> json_name("started_at"), json_name("axis_1"), json_name("plcID")
        ('startedAt', 'axis1', 'plcID')
    """
    first, *rest = field.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def upper_snake_case(name: str) -> str:
    """Return the name in UPPER_SNAKE_CASE, its words found as `buf lint` finds them.

    Example:
        >>> upper_snake_case("JobState"), upper_snake_case("HTTPMode"), upper_snake_case("Axis2D")
        ('JOB_STATE', 'HTTP_MODE', 'AXIS2D')
    """
    return _WORD_START.sub("_", name).upper()


def enum_value_label(enum: str, member: str) -> str:
    """Return the label of an enum's value; its prefix keeps it unique in the package, which all enums share.

    Example:
        >>> enum_value_label("JobState", "running")
        'JOB_STATE_RUNNING'
    """
    return f"{upper_snake_case(enum)}_{upper_snake_case(member)}"


def check_identifier(name: str, what: str) -> str:
    """Return the name if protobuf takes it as an identifier.

    Args:
        name: The name to check.
        what: What it names, for the error: `field Job.größe`.

    Raises:
        ContractError: The name has other characters than ASCII letters, digits and underscores, or begins with a digit.
    """
    if not _IDENTIFIER.fullmatch(name):
        hint = "use ASCII letters, digits and underscores, not beginning with a digit"
        raise ContractError(f"{what} has a name that cannot go on the wire", hint=hint)
    return name


def check_type_name(name: str, what: str) -> str:
    """Return the name if a message or an enum can have it.

    Args:
        name: The name to check.
        what: What it names, for the error.

    Raises:
        ContractError: The name is no identifier, or means something else in a .proto file.
    """
    if name in _TAKEN_TYPE_NAMES:
        raise ContractError(f"{what} has a name that means something else in a .proto file", hint="rename it")
    return check_identifier(name, what)
