"""`/v1/realtime`: live talks over a WebSocket or WebRTC, as the GA protocol of OpenAI has them (serving.md 4;
docs/realtime.md).

`Gate` has checked host, origin and key before any of this runs. A talk takes a place, or is refused with 503 before it
is accepted.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from osum.server.access import given_keys
from osum.server.body import json_of
from osum.server.faults import ApiError, bad
from osum.server.realtime_events import RefusedError
from osum.server.realtime_line import SocketLine
from osum.server.realtime_session import RealtimeSession
from osum.server.realtime_talk import RealtimeTalk
from osum.server.service import Service, Used, service_of
from osum.server.webrtc import CallLine

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
    try:
        key_ends, session = _admit(service, socket, socket.query_params.get("intent", ""))
    except ApiError as refused:
        await socket.send_denial_response(refused.response())
        return
    with _place(service):
        offered = socket.headers.get("sec-websocket-protocol", "").split(",")
        await socket.accept("realtime" if "realtime" in [name.strip() for name in offered] else None)
        talk = RealtimeTalk(SocketLine(socket), service, session, key_ends)
        await talk.run(socket.query_params.get("model"))


def _admit(
    service: Service, connection: HTTPConnection, intent: str = "", wanted: dict[str, Any] | None = None
) -> tuple[float, RealtimeSession]:
    """When the key of a new talk ends, and its session.

    Raises:
        ApiError: 503 where all talks are taken, 400 for a session that cannot be.
    """
    if service.realtime.talks >= service.options.max_talks:
        service.metrics.rejections.labels("talks_full").inc()
        raise ApiError(503, "all talks are taken: try again", code="sessions_full", headers={"Retry-After": "5"})
    key_ends, made_for = service.realtime.made_for(list(given_keys(connection.headers)))
    return key_ends, _new_session(service, {**made_for, **(wanted or {})}, intent)


@contextmanager
def _place(service: Service) -> Iterator[None]:
    """One of the places for talks, until the block is left."""
    begun = time.monotonic()
    service.realtime.talks += 1
    service.metrics.websockets.inc()
    service.metrics.websockets_opened.inc()
    try:
        yield
    finally:
        service.realtime.talks -= 1
        service.metrics.websockets.dec()
        service.metrics.websocket_seconds.observe(time.monotonic() - begun)


# By WebRTC


@router.post("/v1/realtime/calls")
async def call(request: Request, service: Used) -> Response:
    """A live talk over WebRTC: the answer (SDP) to a client's offer."""
    offer, wanted = await _offer(request)
    key_ends, session = _admit(service, request, wanted=wanted)
    line = CallLine(session)
    name = f"rtc_{secrets.token_hex(12)}"
    with ExitStack() as held:
        held.enter_context(_place(service))
        answer = await line.answer(offer)
        model = wanted.get("model") or request.query_params.get("model")
        lead = _lead(line, service, session, key_ends, model if isinstance(model, str) else None, held.pop_all())
        service.realtime.begin_call(name, line, lead)
    place = {"Location": f"/v1/realtime/calls/{name}"}
    return Response(answer, 201, place, media_type="application/sdp")


@router.post("/v1/realtime/calls/{name}/hangup")
async def hang_up(name: str, service: Used) -> Response:
    """End a call."""
    if not service.realtime.hang_up(name):
        raise ApiError(404, f"there is no call {name[:40]!r}: it has ended, or never was", code="call_not_found")
    return Response(status_code=200)


async def _offer(request: Request) -> tuple[str, dict[str, Any]]:
    """The SDP of a request and the session that it asks for: as the whole body, or as parts of a form."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return (await request.body()).decode("utf8", "replace"), {}
    form = await request.form(max_files=2, max_fields=4)
    parts = [form.get(name) for name in ("sdp", "session")]
    texts = [(await part.read()).decode("utf8", "replace") if isinstance(part, UploadFile) else part for part in parts]
    sdp, session = texts
    try:
        wanted = json.loads(session or "{}")
    except ValueError:
        raise bad("the part session is no JSON: send {} for the defaults", "session") from None
    return sdp or "", wanted if isinstance(wanted, dict) else {}


async def _lead(
    line: CallLine, service: Service, session: RealtimeSession, key_ends: float, model: str | None, place: ExitStack
) -> None:
    """Lead one call from its data channel to its end."""
    with place:
        try:
            if await line.connected():
                await RealtimeTalk(line, service, session, key_ends).run(model)
        finally:
            await line.close(1000, "the call has ended")
