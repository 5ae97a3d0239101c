"""Operations of the interface: declared once, and both routes and ``openapi.json`` are made of that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from lightcl_edge.serve.records.rules import Rule

Handler = Callable[[Request], Awaitable[Response]]
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
PREFIX = "/api/v1"
#: What any operation may answer besides its own codes.
_ALWAYS = {
    400: "the request is not as described here",
    401: "a password is needed",
    403: "the request comes from another page, or calls this machine by another name",
    429: "too many requests; Retry-After says when to come back",
    503: "the server ends, or has too many connections",
}


@dataclass(frozen=True)
class Parameter:
    """A value in the path or, with ``where="query"``, behind the question mark."""

    name: str
    kind: Any  # a type, perhaps Annotated with a rule
    meaning: str
    where: str = "path"
    required: bool = True


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    Attributes:
        takes: record of the body; ``bytes`` for a picture; None for no body.
        gives: record of the answer; a media type for other content.
        faults: its own error codes and what they mean.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    gives: type | str
    takes: type | None = None
    parameters: Sequence[Parameter] = ()
    faults: dict[int, str] = field(default_factory=dict)
    code: int = 200
    may_lack_body: bool = False


def schema_of(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of a type; records go to ``parts`` by their name."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        found = schema_of(inner[0], parts)
        for rule in inner[1:]:
            found |= rule.keywords if isinstance(rule, Rule) else {}
        return found
    if origin in (Union, UnionType):
        return {"anyOf": [schema_of(each, parts) for each in inner]}
    if origin is list:
        return {"type": "array", "items": schema_of(inner[0], parts)}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(inner[1], parts)}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if kind.__name__ not in parts:
        parts[kind.__name__] = {}  # it may hold itself
        parts[kind.__name__] = _record_schema(kind, parts)
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _record_schema(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    needed = [each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING]
    found: dict[str, Any] = {
        "type": "object",
        "properties": {each.name: schema_of(hints[each.name], parts) for each in fields(kind)},
    }
    about = (kind.__doc__ or "").strip()
    if about and not about.startswith(f"{kind.__name__}("):
        found["description"] = about.partition("\n")[0]
    return found | ({"required": needed} if needed else {})


def openapi(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the operations."""
    from lightcl_edge.serve.records.failures import Failure

    parts: dict[str, Any] = {}
    failure = schema_of(Failure, parts)
    paths: dict[str, Any] = {}
    for each in operations:
        paths.setdefault(PREFIX + each.path, {})[each.method.lower()] = _describe(each, parts, failure)
    return {
        "openapi": "3.1.0",
        "info": {"title": "lightcl-edge", "version": version, "description": "See it, correct it, let it learn."},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(parts.items())),
            "securitySchemes": {
                "password": {"type": "http", "scheme": "basic", "description": "any name, and the password"}
            },
        },
        "security": [{"password": []}, {}],
    }


def _describe(operation: Operation, parts: dict[str, Any], failure: dict[str, Any]) -> dict[str, Any]:
    gives = operation.gives
    media = gives if isinstance(gives, str) else "application/json"
    schema = {} if isinstance(gives, str) else {"schema": schema_of(gives, parts)}
    answers: dict[str, Any] = {str(operation.code): {"description": "done", "content": {media: schema}}}
    for code, meaning in sorted((_ALWAYS | operation.faults).items()):
        answers[str(code)] = {"description": meaning, "content": {"application/json": {"schema": failure}}}
    name = operation.path.strip("/").replace("/", "_").replace("{", "").replace("}", "")
    found: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method.lower()}_{name}",
        "responses": answers,
    }
    if operation.parameters:
        found["parameters"] = [
            {
                "name": each.name,
                "in": each.where,
                "required": each.required,
                "description": each.meaning,
                "schema": schema_of(each.kind, parts),
            }
            for each in operation.parameters
        ]
    if operation.takes is bytes:
        picture: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
        content = dict.fromkeys(("image/jpeg", "image/png", "image/webp"), picture)
        found["requestBody"] = {"required": not operation.may_lack_body, "content": content}
    elif operation.takes is not None:
        body = {"schema": schema_of(operation.takes, parts)}
        found["requestBody"] = {"required": True, "content": {"application/json": body}}
    return found


def routes(operations: Sequence[Operation]) -> list[BaseRoute]:
    """A route for each path; those with a fixed name come before those that take any."""
    by_path: dict[str, dict[str, Handler]] = {}
    for each in sorted(operations, key=lambda operation: "{" in operation.path):
        by_path.setdefault(PREFIX + each.path, {})[each.method] = each.handler
    return [Route(path, _dispatch(handlers), methods=list(handlers)) for path, handlers in by_path.items()]


def _dispatch(handlers: dict[str, Handler]) -> Handler:
    async def dispatch(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return dispatch


def answer(record: Any, code: int = 200) -> Response:
    """A record as an answer."""
    return JSONResponse(asdict(record), code)
