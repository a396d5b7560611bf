"""`/v1/realtime`: live talks over a WebSocket, as the GA protocol of OpenAI has them (serving.md 4; docs/realtime.md).

`Gate` has checked host, origin and key before any of this runs. A talk takes a place, or is refused with 503 before it
is accepted.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from osum.server.access import given_keys
from osum.server.body import json_of
from osum.server.faults import ApiError, bad
from osum.server.realtime_events import RefusedError
from osum.server.realtime_session import RealtimeSession
from osum.server.realtime_talk import RealtimeTalk
from osum.server.service import Service, Used, service_of

router = APIRouter()


# Keys for a while


@router.post("/v1/realtime/client_secrets")
async def client_secrets(request: Request, service: Used) -> JSONResponse:
    """A key for a browser, which ends soon and brings a session with it."""
    if any(key.startswith("ek_") for key in given_keys(request.headers)):
        raise ApiError(403, "a key for a while makes no further keys: use an API key")
    body = await json_of(request)
    if not isinstance(body, dict):
        raise bad(f"the body is a JSON {type(body).__name__}: send an object, {{}} for the defaults")
    asked, wanted = (body.get(name) or {} for name in ("expires_after", "session"))
    seconds = asked.get("seconds", 600) if isinstance(asked, dict) else None
    if not isinstance(seconds, int) or not 10 <= seconds <= 7200:
        raise bad(f"expires_after.seconds is {seconds!r}: use 10 to 7200", "expires_after.seconds")
    wanted = wanted if isinstance(wanted, dict) else {}
    session = _new_session(service, wanted)
    key, now = f"ek_{secrets.token_urlsafe(32)}", time.monotonic()
    service.realtime.remember(key, now + seconds, wanted)
    service.access.issue(key, now + seconds, service.access.check_key(request.headers))
    return JSONResponse({"value": key, "expires_at": int(time.time()) + seconds, "session": session.fields})


def _new_session(service: Service, wanted: dict[str, Any], intent: str = "") -> RealtimeSession:
    transcribes = intent == "transcription" or wanted.get("type") == "transcription"
    name = f"sess_{secrets.token_hex(12)}"
    session = RealtimeSession(name, service.models.names[0], service.realtime.voice, transcribes)
    try:
        session.update(wanted)
    except RefusedError as refused:
        raise bad(str(refused), refused.param) from refused
    return session


# One talk


@router.websocket("/v1/realtime")
async def realtime(socket: WebSocket) -> None:
    """A live talk."""
    service = service_of(socket)
    desk, limits = service.realtime, service.options
    key_ends, wanted = desk.made_for(list(given_keys(socket.headers)))
    try:
        if desk.talks >= limits.max_talks:
            service.metrics.rejections.labels("talks_full").inc()
            raise ApiError(503, "all talks are taken: try again", code="sessions_full", headers={"Retry-After": "5"})
        session = _new_session(service, wanted, socket.query_params.get("intent", ""))
    except ApiError as refused:
        await socket.send_denial_response(refused.response())
        return
    begun = time.monotonic()
    desk.talks += 1
    service.metrics.websockets.inc()
    service.metrics.websockets_opened.inc()
    try:
        offered = socket.headers.get("sec-websocket-protocol", "").split(",")
        await socket.accept("realtime" if "realtime" in [name.strip() for name in offered] else None)
        await RealtimeTalk(socket, service, session, key_ends).run(socket.query_params.get("model"))
    finally:
        desk.talks -= 1
        service.metrics.websockets.dec()
        service.metrics.websocket_seconds.observe(time.monotonic() - begun)
