"""Requests' bodies and parameters, read with limits and checked against their records."""

from __future__ import annotations

from typing import Any, TypeVar

from anyio import fail_after
from starlette.requests import ClientDisconnect, Request

from lightcl_edge.files.records import Check, read_record
from lightcl_edge.files.strict_json import parse_json
from lightcl_edge.serve.web.faults import BadRequestError, TooLargeError

RecordT = TypeVar("RecordT")
MAX_PICTURE_BYTES = 16 * 2**20
MAX_JSON_BYTES = 2**16
#: A client that has not sent its body after this time is given up.
_PATIENCE_SECONDS = 30.0


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """A request's body. Raises TooLargeError, or BadRequestError when it never comes to its end."""
    found = bytearray()
    try:
        with fail_after(_PATIENCE_SECONDS):
            async for chunk in request.stream():
                found += chunk
                if len(found) > limit_bytes:
                    raise TooLargeError(f"the body is larger than {limit_bytes} bytes")
    except (TimeoutError, ClientDisconnect) as error:
        raise BadRequestError("the request ended before its body was complete") from error
    return bytes(found)


async def read_json_record(request: Request, kind: type[RecordT]) -> RecordT:
    """The body as a record. Raises BadRequestError that names what is wrong."""
    data = await read_body(request, MAX_JSON_BYTES)
    try:
        value = parse_json(data)
    except (ValueError, UnicodeDecodeError) as error:
        raise BadRequestError(f"the body is no JSON ({error})") from error
    return read_record(kind, _with_whole_numbers(value), "", BadRequestError, "the record that the description names")


def _with_whole_numbers(value: Any) -> Any:
    """JSON does not tell 5.0 from 5."""
    if isinstance(value, dict):
        return {key: _with_whole_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_whole_numbers(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def text_parameter(request: Request, name: str, check: Check) -> str:
    """A text behind the question mark. Raises BadRequestError when it is missing, repeated or does not fit."""
    values = request.query_params.getlist(name)
    if len(values) != 1 or not check.holds(values[0]) or any("\ud800" <= letter <= "\udfff" for letter in values[0]):
        found = values[0][:80] if values else "missing"
        raise BadRequestError(f"{name} is {found!a}, expected {check.expected}")
    return values[0]


def number_parameter(request: Request, name: str, default: int, high: int) -> int:
    """A whole number of 0 to ``high`` behind the question mark, or the default. Raises BadRequestError."""
    values = request.query_params.getlist(name) or [str(default)]
    text = values[0]
    fine = len(values) == 1 and text.isascii() and text.isdecimal() and len(text) < 20
    if not fine or int(text) > high:
        raise BadRequestError(f"{name} is {text[:80]!a}, expected a whole number of 0 to {high:,}")
    return int(text)
