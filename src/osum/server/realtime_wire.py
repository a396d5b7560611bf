"""RealtimeWire: a talk's events as those of `/v1/realtime`, in an order that the stock clients accept (serving.md 4.4).

speech_started, speech_stopped, committed, item.added, item.done (user), transcription.completed, response.created,
output_item.added, item.added (assistant), content_part.added, deltas, and the closing events from the inside to the
outside, response.done last. All methods run on the talk's own thread.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from osum.dialogue import news
from osum.dialogue.history import Entry
from osum.dialogue.talker import AudioPiece, TextPiece, ThoughtPiece
from osum.server import g711
from osum.server.realtime_events import Event, Sending, response
from osum.server.realtime_session import THINKING, RealtimeSession, rate_of
from osum.utterance import Utterance

Samples = NDArray[np.float32]
OWN_IDS = ("turn_", "reply_")
"""How ids of items begin that the talk makes."""
MAX_REPLIES = 200
"""Replies whose length is remembered, as long as their items are."""


@dataclass(eq=False)
class _Reply:
    """A response that is being sent."""

    id: str
    item: str
    aloud: bool
    metadata: Any = None
    text: str = ""
    seconds: float = 0.0
    resampler: Any = None
    thought: str = ""


@dataclass(eq=False)
class RealtimeWire:
    """What one client is sent of its talk."""

    session: RealtimeSession
    send: Sending
    active: _Reply | None = None
    lengths: dict[str, float] = field(default_factory=dict)
    """Id of a reply's item to seconds of sound that were sent."""

    def __call__(self, event: news.Event) -> None:
        """Send what an event of the talk is on the wire."""
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    # The user

    def speech_started(self, event: news.SpeechStarted) -> None:
        """The user has the floor."""
        place = {"audio_start_ms": round(event.at * 1000), "item_id": f"turn_{event.turn}"}
        self.send("input_audio_buffer.speech_started", **place)

    def speech_stopped(self, event: news.SpeechStopped) -> None:
        """The user is silent."""
        place = {"audio_end_ms": round(event.at * 1000), "item_id": f"turn_{event.turn}"}
        self.send("input_audio_buffer.speech_stopped", **place)

    def turn_taken(self, event: news.TurnTaken) -> None:
        """The turn is an item."""
        self.send("input_audio_buffer.committed", item_id=event.entry.id, previous_item_id=event.behind)
        judged = event.judgement
        extra = {"osum": {"turn": judged.verdict, "probabilities": dict(judged.labels)}} if judged else {}
        self.item(event.entry, event.behind, extra)

    def turn_dropped(self, event: news.TurnDropped) -> None:
        """What was recorded is no turn; a client that got `speech_started` gets a message that nothing follows."""
        if event.announced and event.why != "cleared":
            self.send("input_audio_buffer.cleared", osum={"turn": event.why, "item_id": f"turn_{event.turn}"})

    def transcribed(self, event: news.Transcribed) -> None:
        """What was said, with labels where they were asked for."""
        if not self.session.transcription and not isinstance(event.found, Mapping):
            return
        kind = "conversation.item.input_audio_transcription"
        place = {"item_id": event.entry, "content_index": 0}
        if event.text is None:
            error = {
                "type": "transcription_error",
                "code": "transcription_failed",
                "message": str(event.found),
                "param": None,
            }
            self.send(f"{kind}.failed", **place, error=error)
            return
        if event.text:
            self.send(f"{kind}.delta", **place, delta=event.text + " " * (not event.last))
        if event.last:
            found = event.found if isinstance(event.found, Mapping) else {}
            usage = {"type": "duration", "seconds": round(found.get("seconds", 0.0), 3)}
            labels = {"osum": found["osum"]} if found.get("osum") else {}
            self.send(f"{kind}.completed", **place, transcript=event.whole, usage=usage, **labels)

    def item(self, entry: Entry, behind: str | None, extra: Mapping[str, Any] | None = None) -> None:
        """An item is there, and complete."""
        item = {**self.shown(entry), **(extra or {})}
        self.send("conversation.item.added", item=item, previous_item_id=behind)
        self.send("conversation.item.done", item=item, previous_item_id=behind)

    def shown(self, entry: Entry) -> Event:
        """An item as the server holds it, without its sound."""
        content: list[Event] = []
        if entry.role == "assistant":
            spoken = entry.id in self.lengths
            content = [
                {"type": "output_audio", "transcript": entry.text}
                if spoken
                else {"type": "output_text", "text": entry.text}
            ]
        elif entry.samples is not None or entry.id.startswith(OWN_IDS):
            content = [{"type": "input_audio", "transcript": entry.text or None}]
        else:
            content = [{"type": "input_text", "text": entry.text}]
        status = "incomplete" if entry.status == "incomplete" else "completed"
        return _message(entry.id, entry.role, status, content)

    # Replies

    def reply_started(self, event: news.ReplyStarted) -> None:
        """A response begins: with an item, and its one part."""
        reply = _Reply(f"resp_{event.reply}", event.entry, event.aloud, getattr(event.options, "metadata", None))
        self.active = reply
        if reply.aloud:
            self.lengths[reply.item] = 0.0
            self.lengths = dict(list(self.lengths.items())[-MAX_REPLIES:])
        self.send("response.created", response=response(reply.id, "in_progress", [], metadata=reply.metadata))
        item = _message(reply.item, "assistant", "in_progress", [])
        self.send("response.output_item.added", response_id=reply.id, output_index=0, item=item)
        self.send("conversation.item.added", item=item, previous_item_id=event.behind)
        part: Event = {"type": "audio", "transcript": ""} if reply.aloud else {"type": "text", "text": ""}
        self.send("response.content_part.added", **self._place(reply), part=part)

    def said(self, event: news.Said) -> None:
        """More of the reply."""
        reply, piece = self.active, event.piece
        if reply is None:
            return
        if isinstance(piece, TextPiece):
            reply.text += piece.text
            kind = "response.output_audio_transcript.delta" if reply.aloud else "response.output_text.delta"
            self.send(kind, **self._place(reply), delta=piece.text)
        elif isinstance(piece, AudioPiece) and reply.aloud:
            reply.seconds += len(piece.samples) / piece.sampling_rate
            self.lengths[reply.item] = reply.seconds
            self._sound(reply, piece.samples, piece.sampling_rate)
        elif isinstance(piece, ThoughtPiece) and THINKING in self.session.includes:
            self.send("osum.thinking.delta", response_id=reply.id, item_id=reply.item, delta=piece.text)

    def _sound(self, reply: _Reply, samples: Samples, rate: int, last: bool = False) -> None:
        form = self.session.known.audio.output.format
        if reply.resampler is None:
            reply.resampler = soxr.ResampleStream(rate, rate_of(form), 1, dtype="float32")
        found = reply.resampler.resample_chunk(samples, last=last)
        if len(found):
            content = encoded(found, form.type)
            self.send("response.output_audio.delta", **self._place(reply), delta=base64.b64encode(content).decode())

    def reply_done(self, event: news.ReplyDone) -> None:
        """The closing events, from the inside to the outside."""
        reply, self.active = self.active, None
        if reply is None:
            return
        place = self._place(reply)
        if reply.aloud:
            if reply.resampler is not None and event.status in ("completed", "cut"):
                self._sound(reply, np.zeros(0, np.float32), 1, last=True)
            self.send("response.output_audio.done", **place)
            self.send("response.output_audio_transcript.done", **place, transcript=reply.text)
            part: Event = {"type": "audio", "transcript": reply.text}
            content: Event = {"type": "output_audio", "transcript": reply.text}
        else:
            self.send("response.output_text.done", **place, text=reply.text)
            part, content = {"type": "text", "text": reply.text}, {"type": "output_text", "text": reply.text}
        self.send("response.content_part.done", **place, part=part)
        whole = event.status == "completed"
        item = _message(reply.item, "assistant", "completed" if whole else "incomplete", [content])
        self.send("response.output_item.done", response_id=reply.id, output_index=0, item=item)
        self.send("conversation.item.done", item=item, previous_item_id=None)
        status, details = _ending(event)
        done = response(reply.id, status, [item], status_details=details, metadata=reply.metadata)
        self.send("response.done", response=done)

    def paused(self, _: news.Paused) -> None:
        """The talk is on hold (ours)."""
        self.send("osum.held")

    def resumed(self, _: news.Resumed) -> None:
        """The talk continues (ours)."""
        self.send("osum.resumed")

    @staticmethod
    def _place(reply: _Reply) -> Event:
        return {"response_id": reply.id, "item_id": reply.item, "output_index": 0, "content_index": 0}


_HANDLERS: dict[type, Callable[[RealtimeWire, Any], None]] = {
    news.SpeechStarted: RealtimeWire.speech_started,
    news.SpeechStopped: RealtimeWire.speech_stopped,
    news.TurnTaken: RealtimeWire.turn_taken,
    news.TurnDropped: RealtimeWire.turn_dropped,
    news.Transcribed: RealtimeWire.transcribed,
    news.ReplyStarted: RealtimeWire.reply_started,
    news.Said: RealtimeWire.said,
    news.ReplyDone: RealtimeWire.reply_done,
    news.Paused: RealtimeWire.paused,
    news.Resumed: RealtimeWire.resumed,
}


def _ending(event: news.ReplyDone) -> tuple[str, Event | None]:
    """Status of a response and its details."""
    if event.status == "completed":
        return "completed", None
    if event.status == "cut":
        return "incomplete", {"type": "incomplete", "reason": "max_output_tokens"}
    if event.status == "failed":
        return "failed", {
            "type": "failed",
            "error": {"type": "server_error", "code": "reply_failed", "message": event.why},
        }
    reason = "turn_detected" if event.why == "turn" else "client_cancelled"
    return "cancelled", {"type": "cancelled", "reason": reason}


def _message(name: str, role: str, status: str, content: list[Event]) -> Event:
    return {
        "id": name,
        "object": "realtime.item",
        "type": "message",
        "role": role,
        "status": status,
        "content": content,
    }


def encoded(samples: Samples, kind: str) -> bytes:
    """Samples (S,) as a format has them."""
    if kind != "audio/pcm":
        return g711.encode(samples, kind)
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def decoded(content: bytes, kind: str) -> Samples:
    """The samples (S,) of a format; a half sample at the end is dropped."""
    if kind != "audio/pcm":
        return g711.decode(content, kind)
    return (np.frombuffer(content[: len(content) // 2 * 2], "<i2") / 32768).astype(np.float32)


def labels_of(clip: Utterance) -> Event:
    """Labels of a turn under the key `osum`: each task's label and how sure it is."""
    return {
        task: {"label": answer.label, "probability": answer.probability, "evidence": answer.evidence}
        for task, answer in clip.summary.items()
    }
