"""RealtimeSession: what a client of `/v1/realtime` has asked for, echoed whole, and what that means for a talk.

Names that are not ours (models, voices) are replaced by ours, with a line in the log: the SDKs of OpenAI send theirs
before anything else (serving.md 4.2).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from osum.dialogue.hearing import HearingRules
from osum.dialogue.live import Parts
from osum.dialogue.talk import TalkRules
from osum.dialogue.turn_policy import SilenceOnly, TurnPolicy
from osum.errors import InputError
from osum.listening.recognizer import Recognizer
from osum.server.realtime_events import RefusedError
from osum.server.turn_policies import PolicyName, TurnPolicies

LOG = logging.getLogger("osum.server")
RATE = 24_000
"""Hz of pcm where a client asks for nothing else."""
TELEPHONE = 8_000
SPECULATE_AFTER = 0.15
"""Seconds of silence after which a reply is begun that may be thrown away."""
JUDGE_AGAIN = 0.5
"""Seconds of speech over a reply after which the policy is asked once more, where it did not interrupt."""
MAX_SOUND = 30.0
"""Seconds of one turn that are kept as sound; of a longer one the model is given the last of it and the text before."""
THINKING, LABELS = "osum.thinking", "osum.labels"
"""What may be asked for by `include`: events with the thought, and labels of each turn of the user."""
TURN_DEFAULTS: dict[str, dict[str, Any]] = {
    "server_vad": {
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "create_response": True,
        "interrupt_response": True,
        "idle_timeout_ms": None,
    },
    "semantic_vad": {"eagerness": "auto", "create_response": True, "interrupt_response": True},
}


class _Format(msgspec.Struct):
    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
    rate: Literal[8_000, 16_000, 24_000, 48_000] | None = None


class _Transcription(msgspec.Struct):
    model: str | None = None
    language: str | None = None
    prompt: str | None = None


class _TurnDetection(msgspec.Struct):
    type: Literal["server_vad", "semantic_vad"]
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    prefix_padding_ms: Annotated[int, msgspec.Meta(ge=0, le=5_000)] = 300
    silence_duration_ms: Annotated[int, msgspec.Meta(ge=32, le=30_000)] = 500
    create_response: bool = True
    interrupt_response: bool = True
    eagerness: Literal["auto", "low", "medium", "high"] = "auto"
    turn_policy: PolicyName | None = None
    """Ours: who decides about turns."""


class _Input(msgspec.Struct):
    format: _Format
    transcription: _Transcription | None = None
    turn_detection: _TurnDetection | None = None


class _Output(msgspec.Struct):
    format: _Format
    voice: Any = None
    speed: Annotated[float, msgspec.Meta(ge=0.25, le=1.5)] = 1.0


class _Audio(msgspec.Struct):
    input: _Input
    output: _Output


class _Known(msgspec.Struct):
    """The fields that mean something here; all others are echoed."""

    type: Literal["realtime", "transcription"]
    audio: _Audio
    output_modalities: list[Literal["audio", "text"]]
    instructions: str
    max_output_tokens: int | Literal["inf"]
    include: list[str] | None = None


@dataclass
class RealtimeSession:
    """One session; `update` changes it."""

    name: str
    model: str
    voice: str | None
    """Of ours; None where nothing can speak here."""
    transcribes: bool = False
    """Whether it only writes down (`type: transcription`)."""

    def __post_init__(self) -> None:
        speaks = self.voice is not None and not self.transcribes
        self.fields: dict[str, Any] = {
            "type": "transcription" if self.transcribes else "realtime",
            "object": "realtime.transcription_session" if self.transcribes else "realtime.session",
            "id": self.name,
            "model": self.model,
            "output_modalities": ["audio"] if speaks else ["text"],
            "instructions": "",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "tracing": None,
            "truncation": "auto",
            "include": None,
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": RATE},
                    "transcription": {"model": self.model} if self.transcribes else None,
                    "noise_reduction": None,
                    "turn_detection": {"type": "server_vad", **TURN_DEFAULTS["server_vad"]},
                },
                "output": {"format": {"type": "audio/pcm", "rate": RATE}, "voice": self.voice, "speed": 1.0},
            },
        }
        self.known = _checked(self.fields)

    def update(self, changes: Mapping[str, Any], able: Callable[[RealtimeSession], object] | None = None) -> None:
        """Merge changes into the session; null clears. Nothing changes where one of them cannot be.

        Args:
            changes: as the client sent them.
            able: is given the changed session, and raises what it cannot be.

        Raises:
            RefusedError: a field that is not what it must be.
        """
        fields = copy.deepcopy(self.fields)
        _merge(fields, {key: value for key, value in changes.items() if key not in ("id", "object")})
        self._replace_names(fields, changes)
        known = _checked(fields)
        if known.type != self.known.type and changes.get("type") == "transcription":
            fields["object"] = "realtime.transcription_session"
        before = self.fields, self.known
        self.fields, self.known = fields, known
        try:
            if able is not None:
                able(self)
        except RefusedError:
            self.fields, self.known = before
            raise

    def _replace_names(self, fields: dict[str, Any], changes: Mapping[str, Any]) -> None:
        """Put our model and voice in place of names that are not ours."""
        for ours, named, what in (
            (self.model, fields.get("model"), "model"),
            (self.voice, _at(fields, "audio", "output", "voice"), "voice"),
        ):
            if named != ours and what in str(changes):
                LOG.info("session %s asks for the %s %.40r: it is answered by %r", self.name, what, named, ours)
        fields["model"] = self.model
        if isinstance(_at(fields, "audio", "output"), dict):
            fields["audio"]["output"]["voice"] = self.voice
        if self.voice is None and fields.get("output_modalities") == ["audio"]:
            fields["output_modalities"] = ["text"]
        turn = _at(fields, "audio", "input", "turn_detection")
        if isinstance(turn, dict) and turn.get("type") in TURN_DEFAULTS:
            fields["audio"]["input"]["turn_detection"] = {**TURN_DEFAULTS[turn["type"]], **turn}

    # What it means

    @property
    def aloud(self) -> bool:
        """Whether replies are spoken."""
        return "audio" in self.known.output_modalities

    @property
    def includes(self) -> frozenset[str]:
        """What is asked for in addition."""
        return frozenset(self.known.include or ())

    @property
    def transcription(self) -> bool:
        """Whether transcripts of the user are sent."""
        return self.known.audio.input.transcription is not None or self.known.type == "transcription"

    def policy(self, turns: TurnPolicies, model: Recognizer) -> TurnPolicy:
        """Who decides about turns.

        Raises:
            RefusedError: it cannot be whom the session names.
        """
        turn = self.known.audio.input.turn_detection
        if turn is None or turn.type == "server_vad":
            return SilenceOnly((turn.silence_duration_ms if turn else 500) / 1000)
        try:
            return turns.named(turn.turn_policy, model, turn.eagerness)
        except InputError as fault:
            place = "session.audio.input.turn_detection.turn_policy"
            raise RefusedError(f"{place} is {turn.turn_policy!r}: {fault}", "invalid_value", place) from fault

    def rules(self, policy: TurnPolicy, reply_options: Any, longest: float) -> TalkRules:
        """How its talk is led, with a model that takes `longest` seconds of sound at once."""
        turn, replies = self.known.audio.input.turn_detection, self.known.type == "realtime"
        if turn is None:
            return TalkRules(
                takes_turns=False,
                max_sound=min(MAX_SOUND, longest),
                aloud=self.aloud,
                instructions=self.known.instructions,
                reply_options=reply_options,
            )
        return TalkRules(
            hearing=HearingRules(turn.threshold, max(0.01, turn.threshold - 0.15)),
            replies=turn.create_response and replies,
            interrupts=turn.interrupt_response,
            padding=turn.prefix_padding_ms / 1000,
            judge_after=policy.after,
            judge_again=JUDGE_AGAIN,
            speculate_after=SPECULATE_AFTER if turn.create_response and replies else None,
            max_sound=min(MAX_SOUND, longest),
            aloud=self.aloud,
            instructions=self.known.instructions,
            reply_options=reply_options,
        )


def with_policy(parts: Parts, policy: TurnPolicy) -> Parts:
    """The parts of a talk with another policy."""
    return Parts(parts.detector, policy, parts.generator, parts.writer)


def rate_of(form: _Format) -> int:
    """Hz of a format."""
    return form.rate or (RATE if form.type == "audio/pcm" else TELEPHONE)


def _checked(fields: Mapping[str, Any]) -> _Known:
    try:
        return msgspec.convert(fields, _Known)
    except msgspec.ValidationError as fault:
        said, _, place = str(fault).partition(" - at `$.")
        param = f"session.{place.rstrip('`')}" if place else "session"
        raise RefusedError(f"{param}: {said}", "invalid_value", param) from fault


def _merge(into: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        old = into.get(key)
        other_kind = (
            isinstance(old, dict) and isinstance(value, dict) and value.get("type", old.get("type")) != old.get("type")
        )
        if isinstance(value, dict) and isinstance(old, dict) and not other_kind:
            _merge(old, value)
        else:
            into[key] = copy.deepcopy(value)


def _at(fields: Mapping[str, Any], *path: str) -> Any:
    found: Any = fields
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found
