"""RealtimeTalk: one session of one client of `/v1/realtime`.

1. The client's events become news of a `LiveTalk`, and what comes out of it becomes the server's events
   (`RealtimeWire`). Nothing that a client sends ends its session.
2. A session ends with a reason: it lasts too long, its key ends, the client takes nothing, or the server stops.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from osum.audio import SAMPLE_RATE
from osum.dialogue import news
from osum.dialogue.conversation import Messages
from osum.dialogue.history import Entry
from osum.dialogue.live import Generator, LiveTalk, Microphone, Parts, Samples
from osum.dialogue.options import TalkOptions
from osum.dialogue.talk import TalkRules
from osum.dialogue.talker import AudioPiece, Piece, Talker
from osum.dialogue.task_replies import TaskReplies, converses
from osum.dialogue.turn_policy import SilenceOnly, TurnPolicy
from osum.dialogue.voiced import Voiced
from osum.engine.options import GenerationOptions
from osum.errors import OsumError
from osum.listening.asked import TRANSCRIBE
from osum.listening.recognizer import Recognizer
from osum.listening.vad import detector_named
from osum.server.realtime_events import (
    Acknowledge,
    Append,
    CancelResponse,
    ClearBuffer,
    ClearOutput,
    CommitBuffer,
    CreateItem,
    CreateResponse,
    DeleteItem,
    Event,
    Hold,
    Item,
    RefusedError,
    Resume,
    RetrieveItem,
    Sending,
    SessionUpdate,
    TruncateItem,
    read,
)
from osum.server.realtime_line import TalkLine
from osum.server.realtime_session import LABELS, RealtimeSession, rate_of, with_policy
from osum.server.realtime_wire import OWN_IDS, RealtimeWire, decoded, labels_of
from osum.server.service import Service

LOG = logging.getLogger("osum.server")
MAX_QUEUE = 4_000
"""Events that wait for a client; one that takes none of them is closed."""
SLACK = 0.05
"""Seconds that a client may have played more than it was sent: it counts whole frames."""
SENSITIVE = ("SER", "SGC", "SAP")
GOING_AWAY, REFUSED, TRY_LATER = 1001, 1008, 1013


@dataclass(frozen=True)
class ReplyWish:
    """How a reply is asked for: what `Talker` is given, whether it is spoken, and what the client noted to it."""

    options: TalkOptions
    aloud: bool
    metadata: dict[str, str] | None = None


class RealtimeTalk:
    """One session of one client."""

    def __init__(self, line: TalkLine, service: Service, session: RealtimeSession, key_ends: float) -> None:
        self.line, self.service, self.session, self.key_ends = line, service, session, key_ends
        self.until = min(key_ends, time.monotonic() + service.options.talk_seconds)
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Event] = asyncio.Queue(MAX_QUEUE)
        self._full = asyncio.Event()
        self.send = Sending(self._put)
        self.wire = RealtimeWire(session, self.send)
        self._microphone: tuple[int, Microphone] | None = None
        self._items = 0
        self._taken: float | None = None
        """Time at which the turn was taken that waits for its first sound."""
        self._was_cut = False

    # Running

    async def run(self, named: str | None) -> None:
        """Serve the client until one of both leaves."""
        name = named if named in self.service.models.names else self.service.models.names[0]
        if named is not None and named != name:
            LOG.info("session %s asks for the model %.40r: it is answered by %r", self.session.name, named, name)
        self.session.model = self.session.fields["model"] = name
        with ExitStack() as held:
            self.model: Recognizer = await asyncio.to_thread(held.enter_context, self.service.models.lease(name))
            self.parts = Parts(detector_named(), self._first_policy(), self._generator(), self._write)
            self.live = LiveTalk(self.parts, self._rules(), self._listen)
            self._loop.run_in_executor(None, self.service.realtime.warm)
            try:
                self.send("session.created", session=self._shown())
                await self._until_one_ends()
            finally:
                await asyncio.to_thread(self.live.close)

    async def _until_one_ends(self) -> None:
        work = (self._receive(), self._deliver(), self._watch(), self.line.microphone(self.hear))
        jobs = {asyncio.ensure_future(job) for job in work}
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                if fault := job.exception():
                    LOG.error("session %s failed", self.session.name, exc_info=fault)
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def _receive(self) -> None:
        while (text := await self.line.receive()) is not None:
            self._take(text)

    async def _deliver(self) -> None:
        """Send what waits; a client that takes nothing for a while is left."""
        while True:
            event = await self._queue.get()
            try:
                await asyncio.wait_for(self.line.send(event), self.service.options.idle_seconds)
            except (TimeoutError, ConnectionError):
                return

    async def _watch(self) -> None:
        """End the session with a reason."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), 0.2)
            now = time.monotonic()
            if self._full.is_set():
                await self._end("too many events wait for this client", "client_too_slow", TRY_LATER)
                return
            if now >= self.until:
                code = "key_expired" if now >= self.key_ends else "session_expired"
                await self._end(
                    "the key has ended" if code == "key_expired" else "the session lasts too long", code, REFUSED
                )
                return
            if self.service.desk.draining and self.wire.active is None:
                await self._end("this server is about to stop: ask another, or again", "server_stopping", GOING_AWAY)
                return

    async def _end(self, why: str, code: str, number: int) -> None:
        error = {"type": "invalid_request_error", "message": why, "code": code, "param": None, "event_id": None}
        with suppress(Exception):
            async with asyncio.timeout(2):
                await self.line.send({"type": "error", "event_id": "event_last", "error": error})
                await self.line.close(number, why[:100])

    def _put(self, event: Event) -> None:
        """From any thread."""

        def put() -> None:
            try:
                self._queue.put_nowait(event)
            except asyncio.QueueFull:
                self._full.set()

        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(put)

    def _listen(self, event: news.Event, now: float) -> None:
        """Send an event of the talk, and keep the figures."""
        self.wire(event)
        metrics = self.service.metrics
        match event:
            case news.TurnTaken():
                self._taken = now
            case news.Said(piece=AudioPiece()) if self._taken is not None:
                metrics.first_audio.labels(self.session.model).observe(now - self._taken)
                self._taken = None
            case news.CutOff():
                self._was_cut = True
                if self.line.plays:
                    self.send("output_audio_buffer.cleared", response_id=f"resp_{event.reply}")
            case news.SpeechStarted() if self._was_cut:
                metrics.barge_in.observe(
                    max(0.0, self.live.talk.clock / SAMPLE_RATE - event.at - self.live.talk.rules.padding)
                )
                self._was_cut = False

    # What it is done with

    def _generator(self) -> Generator:
        """The model with a voice; one that was not trained to converse answers by its task."""
        writer: Generator = Talker(self.model.engine) if converses(self.model) else TaskReplies(self.model)
        voice = self.service.realtime.synthesizer
        return _AsWished(writer, writer if voice is None else Voiced(writer, voice))

    def _policy(self, session: RealtimeSession) -> TurnPolicy:
        return session.policy(self.service.realtime.turns, self.model)

    def _first_policy(self) -> TurnPolicy:
        """That of a new session; the one that a key was made for may name a policy that its model cannot be."""
        try:
            return self._policy(self.session)
        except RefusedError as refused:
            LOG.warning("session %s goes by silence: %s", self.session.name, refused)
            return SilenceOnly()

    def _rules(self) -> TalkRules:
        wish = self._wish(self.session.known.max_output_tokens, self.session.aloud)
        return self.session.rules(self.parts.policy, wish, self.model.max_seconds)

    @staticmethod
    def _wish(max_tokens: int | str | None, aloud: bool, metadata: dict[str, str] | None = None) -> ReplyWish:
        length = GenerationOptions(max_new_tokens=max_tokens) if isinstance(max_tokens, int) else None
        return ReplyWish(TalkOptions(aloud=False, generation=length), aloud, metadata)

    def _shown(self) -> Event:
        policy = type(self.parts.policy).__name__
        return {**self.session.fields, "osum": {"turn_policy": policy, "voice": self.session.voice}}

    def _write(self, samples: Any, last: bool, /) -> tuple[str | None, Any]:
        """Transcript and labels of a turn, as far as they are asked for."""
        wants = LABELS in self.session.includes
        if last and not (wants or self.session.transcription):
            return "", None
        sensitive = SENSITIVE if self.service.options.refuse_sensitive else ()
        named = [task.name for task in self.model.tasks.main if task.label_sets and task.name not in sensitive]
        clip = self.model.label((samples, SAMPLE_RATE), tasks=[TRANSCRIBE, *(named if wants else [])])
        text = clip.text or ""
        return text, {"seconds": len(samples) / SAMPLE_RATE, "osum": {"labels": labels_of(clip)} if wants else None}

    # The client's events

    def _take(self, text: str | bytes) -> None:
        """Follow one event, or say why not; nothing that a client sends ends its session."""
        event_id: str | None = None
        try:
            event = read(text)
            event_id = event.event_id
            _FOLLOW[type(event)](self, event)
        except RefusedError as refused:
            self.send.error(str(refused), refused.code, refused.param, refused.event_id or event_id)
        except OsumError as refused:
            self.send.error(str(refused), "invalid_value", None, event_id)

    def _tell(self, what: news.News, event: Any, code: str, done: Any = None) -> None:
        """Hand news to the talk; `done` runs on its thread once it has happened."""

        def settled(fault: OsumError | None) -> None:
            if fault is not None:
                self.send.error(str(fault), code, None, event.event_id)
            elif done is not None:
                done()

        self.live.tell(what, settled)

    def update(self, event: SessionUpdate) -> None:
        """Change the session, and with it how the talk is led."""
        before = self.session.known
        self.session.update(event.session, able=self._policy)
        if before.audio.input.turn_detection != self.session.known.audio.input.turn_detection:
            self.parts = self.live.parts = with_policy(self.parts, self._policy(self.session))
        self.live.tell(self._rules(), lambda _: self.send("session.updated", session=self._shown()))

    def append(self, event: Append) -> None:
        """More sound."""
        form = self.session.known.audio.input.format
        self.hear(decoded(_bytes_of(event.audio), form.type), rate_of(form))

    def hear(self, samples: Samples, rate: int) -> None:
        """More sound (S,), of a rate.

        Raises:
            InputError: a minute of sound waits already.
        """
        if self._microphone is None or self._microphone[0] != rate:
            self._microphone = (rate, Microphone(rate))
        self.service.metrics.audio_seconds.labels(self.session.model).inc(len(samples) / rate)
        self.live.hear(self._microphone[1].take(samples))

    def commit(self, event: CommitBuffer) -> None:
        """The user's turn is over."""
        self._tell(news.Commit(), event, "input_audio_buffer_commit_empty")

    def clear(self, event: ClearBuffer) -> None:
        """Forget the sound of the turn."""
        self._tell(news.Clear(), event, "invalid_value", partial(self.send, "input_audio_buffer.cleared"))

    def create_item(self, event: CreateItem) -> None:
        """Add an item."""
        entry = self._entry(event.item)
        first = event.previous_item_id == "root"
        put = news.Put(entry, None if first else event.previous_item_id, first)

        def done() -> None:
            history = self.live.talk.history
            self.wire.item(entry, history.before(entry.id))

        self._tell(put, event, "invalid_value", done)

    def retrieve(self, event: RetrieveItem) -> None:
        """Send an item as it is remembered."""

        def done() -> None:
            try:
                item = self.wire.shown(self._remembered(event.item_id))
                self.send("conversation.item.retrieved", item=item)
            except OsumError as unknown:
                self.send.error(str(unknown), "item_retrieve_invalid_item_id", "item_id", event.event_id)

        self._tell(news.Tick(), event, "invalid_value", done)

    def _remembered(self, name: str) -> Entry:
        """An item of the talk, the reply that is being given included."""
        answer = self.live.talk.answer
        if answer is not None and answer.entry == name:
            return Entry(name, "assistant", answer.text, status="incomplete")
        return self.live.talk.history.get(name)

    def delete(self, event: DeleteItem) -> None:
        """Forget an item."""
        deleted = partial(self.send, "conversation.item.deleted", item_id=event.item_id)
        self._tell(news.Remove(event.item_id), event, "item_delete_invalid_item_id", deleted)

    def truncate(self, event: TruncateItem) -> None:
        """Believe the client about how much was played."""
        sent = self.wire.lengths.get(event.item_id, 0.0)
        seconds = event.audio_end_ms / 1000
        if event.item_id in self.wire.lengths and seconds > sent + SLACK:
            raise RefusedError(
                f"audio_end_ms is {event.audio_end_ms}: the item has {round(sent * 1000)} ms of audio",
                "invalid_value",
                "audio_end_ms",
            )
        place = {name: getattr(event, name) for name in ("item_id", "content_index", "audio_end_ms")}
        truncated = partial(self.send, "conversation.item.truncated", **place)
        self._tell(news.Truncate(event.item_id, seconds), event, "item_truncate_invalid_item_id", truncated)

    def respond(self, event: CreateResponse) -> None:
        """Reply now."""
        asked = event.response
        aloud = self.session.aloud if asked.output_modalities is None else "audio" in asked.output_modalities
        aloud = aloud and self.session.voice is not None
        wish = news.Respond(
            self._wish(asked.max_output_tokens or self.session.known.max_output_tokens, aloud, asked.metadata),
            instructions=asked.instructions,
            entries=None if asked.input is None else tuple(self._entry(item) for item in asked.input),
            remembered=asked.conversation == "auto",
            aloud=aloud,
        )

        def settled(fault: OsumError | None) -> None:
            if fault is not None:
                code = "conversation_already_has_active_response" if self.wire.active else "invalid_value"
                self.send.error(str(fault), code, None, event.event_id)

        self.live.tell(wish, settled)

    def clear_output(self, event: ClearOutput) -> None:  # noqa: ARG002
        """Play no more of the reply; where the client plays, it needs nobody to stop."""
        if not self.line.plays:
            raise RefusedError(
                "output_audio_buffer.clear is of WebRTC: truncate the item instead", "unknown_event", "type"
            )

        def settled(fault: OsumError | None) -> None:
            if fault is not None:  # nothing plays, so nothing is cut off: it is clear already
                self.send("output_audio_buffer.cleared", response_id=f"resp_{self.live.talk.replies}")

        self.live.tell(news.Cancel(), settled)

    def cancel(self, event: CancelResponse) -> None:
        """Stop replying."""

        def settled(fault: OsumError | None) -> None:
            if fault is not None:
                self.send.error(str(fault), "response_cancel_not_active", None, event.event_id)

        self.live.tell(news.Cancel(), settled)

    def acknowledge(self, event: Acknowledge) -> None:
        """How much of a reply has been played so far."""
        number = event.item_id.removeprefix("reply_")
        if number.isdecimal():
            self.live.tell(news.Played(int(number), event.played_ms / 1000))

    def hold(self, event: Hold) -> None:
        """Pause."""
        self._tell(news.HoldTalk(), event, "invalid_value")

    def resume(self, event: Resume) -> None:
        """Continue."""
        self._tell(news.ResumeTalk(), event, "invalid_value")

    def _entry(self, item: Item) -> Entry:
        """An item of a client as the talk remembers it."""
        self._items += 1
        name = item.id or f"item_{self._items}"
        if name.startswith(OWN_IDS):
            raise RefusedError(
                f"the id {name[:40]!r} is kept for the server's own items: use another", "invalid_value", "item.id"
            )
        if item.type == "function_call_output":
            return Entry(name, "system", f"Result of the call {item.call_id}: {item.output}")
        sounds = [part for part in item.content if part.type == "input_audio"]
        text = "".join(part.text or part.transcript or "" for part in item.content if part.type != "input_audio")
        if sounds and (item.role != "user" or len(sounds) > 1 or sounds[0].audio is None):
            raise RefusedError(
                "an item holds one input_audio part of the user, with audio", "invalid_value", "item.content"
            )
        if not sounds and not text.strip():
            raise RefusedError("the item says nothing: give it a text or sound", "invalid_value", "item.content")
        if not sounds:
            return Entry(name, item.role, text)
        form = self.session.known.audio.input.format
        samples = Microphone(rate_of(form)).take(decoded(_bytes_of(sounds[0].audio or ""), form.type))
        if not len(samples):
            raise RefusedError("the input_audio part holds no sound: send some", "invalid_value", "item.content")
        return Entry(name, item.role, text=sounds[0].transcript or "", samples=samples, earlier=text)


class _AsWished:
    """Writes, or writes and speaks, as the reply was asked for."""

    def __init__(self, writer: Generator, speaker: Generator) -> None:
        self._writer, self._speaker = writer, speaker

    def stream_reply(self, conversation: Messages, options: Any = None, /) -> Iterator[Piece]:
        """As `Generator.stream_reply`; the options are a `ReplyWish`."""
        generator = self._speaker if options.aloud else self._writer
        return generator.stream_reply(conversation, options.options)


def _bytes_of(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError(
            "the audio is no base64: encode the bytes of its samples", "invalid_value", "audio"
        ) from None


_FOLLOW: dict[type, Any] = {
    SessionUpdate: RealtimeTalk.update,
    Append: RealtimeTalk.append,
    CommitBuffer: RealtimeTalk.commit,
    ClearBuffer: RealtimeTalk.clear,
    CreateItem: RealtimeTalk.create_item,
    RetrieveItem: RealtimeTalk.retrieve,
    DeleteItem: RealtimeTalk.delete,
    TruncateItem: RealtimeTalk.truncate,
    CreateResponse: RealtimeTalk.respond,
    CancelResponse: RealtimeTalk.cancel,
    ClearOutput: RealtimeTalk.clear_output,
    Acknowledge: RealtimeTalk.acknowledge,
    Hold: RealtimeTalk.hold,
    Resume: RealtimeTalk.resume,
}
