"""ApiError: what a client is refused with, in OpenAI's form, and which status an error of ours stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from osum.errors import AudioError, CancelledError, MissingExtraError, OsumError

KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""Status to type; other client errors are `invalid_request_error`, and those of the server `server_error`."""
LONGEST = 500
"""Characters of a message."""
RETRY_AFTER = {"Retry-After": "1"}
"""Seconds after which a client that got no place may ask again; a request takes about as long."""
NO_RETRY = {"x-should-retry": "false"}
"""Of a failure that would come again: the SDKs then do not ask twice."""


class ApiError(OsumError):
    """A request that is refused: status, and what OpenAI's error body says."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, object]:
        """`{"error": {message, type, param, code}}`."""
        kind = KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        said = " ".join(str(self).split())
        if len(said) > LONGEST:  # a bad value may be as long as the client likes
            said = f"{said[: LONGEST // 2]} ... {said[-LONGEST // 3 :]}"
        return {"error": {"message": said, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The answer to the client."""
        return JSONResponse(self.body(), self.status, self.headers)


def bad(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A request that can never be answered as it is."""
    return ApiError(400, message, param, code)


def api_error(fault: BaseException) -> ApiError:
    """What a client reads of an error; of a fault of our own, only that there was one."""
    match fault:
        case ApiError():
            return fault
        case AudioError() | MissingExtraError():
            return ApiError(415, str(fault), "file", "unsupported_audio")
        case CancelledError():
            return ApiError(499, "the request was cancelled")
        case OsumError():
            return bad(str(fault))
        case HTTPException():
            return ApiError(fault.status_code, str(fault.detail), headers=fault.headers)
    return ApiError(500, "the server failed to answer this request; its log says why", headers=NO_RETRY)


async def respond(_: Request, fault: Exception) -> JSONResponse:
    """As FastAPI calls it, for every kind of error."""
    return api_error(fault).response()


async def respond_to_invalid(_: Request, fault: Exception) -> JSONResponse:
    """Parameters that FastAPI itself refuses."""
    first: list[dict[str, Any]] = getattr(fault, "errors", list)()[:1]
    place = str(first[0]["loc"][-1]) if first and first[0].get("loc") else None
    said = str(first[0].get("msg", "is not what it must be")) if first else "the request is not what it must be"
    return bad(said, place).response()
