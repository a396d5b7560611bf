"""The JSON body of a request as a typed record."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from osum.records import RecordError, read
from osum.server.faults import ApiError, bad

R = TypeVar("R")


async def json_of(request: Request) -> Any:
    """The JSON value of a body.

    Raises:
        ApiError: 400 for a body that is no JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise bad(f"the body is {kind[:60] or 'of no type'!r}: send application/json")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise ApiError(415, "the body is compressed: send it as it is, without content-encoding")
    try:
        return msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise bad(f"the body is no JSON ({str(fault)[:100]})") from None


def record(kind: type[R], value: Any) -> R:
    """A record of a JSON object; names that it has not are passed over, as stock clients send many.

    Raises:
        ApiError: 400, with the field that is at fault.
    """
    if not isinstance(value, dict):
        raise bad(f"the body is a JSON {type(value).__name__}: send an object")
    known = {each.name: value[each.name] for each in fields(kind) if value.get(each.name) is not None}  # type: ignore[arg-type]
    try:
        found: R = read(kind, known)
    except RecordError as fault:
        raise bad(f"{fault.place or 'the body'} {fault.why}", fault.place or None) from fault
    return found
