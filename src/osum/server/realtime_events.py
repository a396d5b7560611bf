"""Events of `/v1/realtime` as clients send them, typed, and pieces of those that the server sends (serving.md 4.3)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Annotated, Any, Literal

import msgspec

Event = dict[str, Any]
Index = Annotated[int, msgspec.Meta(ge=0)]


class ClientEvent(msgspec.Struct, tag_field="type", kw_only=True):
    """What a client may send; fields that are not known are ignored."""

    event_id: str | None = None


class SessionUpdate(ClientEvent, tag="session.update"):
    """Change the session."""

    session: dict[str, Any]


class Append(ClientEvent, tag="input_audio_buffer.append"):
    """More sound."""

    audio: str
    """Base64."""


class CommitBuffer(ClientEvent, tag="input_audio_buffer.commit"):
    """The user's turn is over."""


class ClearBuffer(ClientEvent, tag="input_audio_buffer.clear"):
    """Forget the sound of the turn."""


class ItemPart(msgspec.Struct):
    """A part of an item."""

    type: Literal["input_text", "input_audio", "output_text", "output_audio", "text"]
    text: str | None = None
    audio: str | None = None
    transcript: str | None = None


class Item(msgspec.Struct):
    """An item that a client adds."""

    type: Literal["message", "function_call_output"]
    id: str | None = None
    role: Literal["system", "user", "assistant"] = "user"
    content: list[ItemPart] = []
    call_id: str | None = None
    output: str | None = None


class CreateItem(ClientEvent, tag="conversation.item.create"):
    """Add an item."""

    item: Item
    previous_item_id: str | None = None


class RetrieveItem(ClientEvent, tag="conversation.item.retrieve"):
    """Send an item as the server holds it."""

    item_id: str


class DeleteItem(ClientEvent, tag="conversation.item.delete"):
    """Forget an item."""

    item_id: str


class TruncateItem(ClientEvent, tag="conversation.item.truncate"):
    """So much of a reply was played."""

    item_id: str
    content_index: Index
    audio_end_ms: Index


class ResponseOptions(msgspec.Struct, frozen=True):
    """How one reply differs from what the session says."""

    instructions: str | None = None
    input: list[Item] | None = None
    conversation: Literal["auto", "none"] = "auto"
    output_modalities: list[Literal["audio", "text"]] | None = None
    metadata: dict[str, str] | None = None
    max_output_tokens: int | Literal["inf"] | None = None


class CreateResponse(ClientEvent, tag="response.create"):
    """Reply now."""

    response: ResponseOptions = ResponseOptions()


class CancelResponse(ClientEvent, tag="response.cancel"):
    """Stop replying."""

    response_id: str | None = None


class ClearOutput(ClientEvent, tag="output_audio_buffer.clear"):
    """Play no more of the reply (WebRTC, where the server plays)."""


class Acknowledge(ClientEvent, tag="playback.ack"):
    """So much of a reply has been played so far (ours; as vLLM-Omni has it)."""

    item_id: str
    played_ms: Index


class Hold(ClientEvent, tag="osum.hold"):
    """Pause: nothing is recorded or played (ours)."""


class Resume(ClientEvent, tag="osum.resume"):
    """Continue (ours)."""


Sent = (
    SessionUpdate | Append | CommitBuffer | ClearBuffer | CreateItem | RetrieveItem | DeleteItem | TruncateItem
    | CreateResponse | CancelResponse | ClearOutput | Acknowledge | Hold | Resume
)  # fmt: skip
_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Sent)
_ID = msgspec.json.Decoder(dict[str, Any])


class RefusedError(Exception):
    """An event that cannot be followed; the session stays open."""

    def __init__(self, message: str, code: str, param: str | None = None, event_id: str | None = None) -> None:
        super().__init__(message)
        self.code, self.param, self.event_id = code, param, event_id


def read(text: str | bytes) -> Any:
    """One event of a client, as one of `Sent`.

    Raises:
        RefusedError: no JSON object, an unknown type, or a field that is not what it must be.
    """
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise _refusal(text, fault) from fault


def _refusal(text: str | bytes, fault: Exception) -> RefusedError:
    try:
        row = _ID.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return RefusedError("the message is no JSON object: send one event as JSON text", "invalid_json")
    known = {str(each.__struct_config__.tag) for each in Sent.__args__}
    event_id = row["event_id"] if isinstance(row.get("event_id"), str) else None
    kind = row.get("type")
    if kind not in known:
        shown = repr(kind)[:80]
        return RefusedError(
            f"the event type {shown} is not known here: see docs/realtime.md", "unknown_event", "type", event_id
        )
    said, _, place = str(fault).partition(" - at `$.")
    return RefusedError(f"{kind}: {said}", "invalid_event", place.rstrip("`") or None, event_id)


class Sending:
    """Gives events out, each with an id of its own."""

    def __init__(self, send: Callable[[Event], None]) -> None:
        self._send, self._numbers = send, count(1)

    def __call__(self, kind: str, **fields: Any) -> None:
        """One event."""
        self._send({"type": kind, "event_id": f"event_{next(self._numbers)}", **fields})

    def error(self, message: str, code: str, param: str | None = None, event_id: str | None = None) -> None:
        """Something could not be done; the session stays open."""
        kind = "server_error" if code == "server_error" else "invalid_request_error"
        said = " ".join(message.split())
        self("error", error={"type": kind, "message": said, "code": code, "param": param, "event_id": event_id})


def response(name: str, status: str, output: list[Event], **fields: Any) -> Event:
    """A response as events hold it."""
    whole = {
        "id": name,
        "object": "realtime.response",
        "status": status,
        "status_details": None,
        "output": output,
        "usage": None,
        "metadata": None,
    }
    return {**whole, **fields}
