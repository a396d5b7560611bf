"""Hearing: sound of any block size to frames, each with its echo removed and whether somebody near speaks in it.

1. Samples are held until there is a frame (32 ms). Where what was played is known, its echo is subtracted.
2. Voice activity says how likely speech is. A frame counts as speech above a threshold, and continues to above a lower.
3. Who is far away does not count: speech much quieter than that of the turns before is of somebody else. Nor does an
   echo that cannot be subtracted yet: until the room is known, only what is louder than what is played counts.

The state is a value; the detector holds weights alone. Shapes: S samples at 16 kHz, N frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from osum.audio import SAMPLE_RATE
from osum.dialogue import echo
from osum.dialogue.echo import EchoState
from osum.errors import InputError
from osum.listening.vad import FRAME, Detector, levels

Samples = NDArray[np.float32]

KNOWN_ROOM = 10.0
"""dB of echo that are subtracted in one call where a room is known."""
SILENT = -60.0
"""dBFS below which nothing is played."""
FRAME_SECONDS = FRAME / SAMPLE_RATE
PEAK_FRAMES = 8
"""Frames whose loudest is the level of a voice (256 ms): consonants are quieter than vowels."""
LEARNING = 0.05
"""Share of the newest frame in what is known of the near voice."""


@dataclass(frozen=True)
class HearingRules:
    """What counts as speech."""

    threshold: float = 0.5
    """Probability at which speech begins."""
    end_threshold: float = 0.35
    """Probability above which it continues; lower, so that it does not flicker."""
    faintest: float = -55.0
    """dBFS; what is quieter is nobody near."""
    far: float = 15.0
    """dB below the voice of the turns before at which somebody is too far away to be meant."""
    far_over_reply: float = 10.0
    """The same while a reply plays: people raise their voice to be heard over another (Lombard effect)."""

    def over_reply(self) -> HearingRules:
        """The rules while a reply plays."""
        return replace(self, far=min(self.far, self.far_over_reply))


class Frame(NamedTuple):
    """One frame, judged."""

    samples: Samples
    """(FRAME,)"""
    probability: float
    """Of speech."""
    speech: bool
    """Whether somebody near speaks."""


@dataclass(frozen=True)
class Hearing:
    """What is remembered of the sound so far."""

    memory: Any
    """Of the detector."""
    held: Samples
    """(S,) that are no whole frame yet."""
    held_reference: Samples | None = None
    """(S,) that was played at the same time; None where nobody says."""
    room: EchoState | None = None
    room_known: bool = False
    playing: tuple[float, ...] = ()
    """Levels of what was played in the last frames in dBFS."""
    recent: tuple[float, ...] = ()
    """Levels of the last frames in dBFS."""
    near: float | None = None
    """Level of the voice that has the floor in dBFS; None before the first turn."""
    speaking: bool = False


def start(detector: Detector[Any]) -> Hearing:
    """Nothing was recorded yet."""
    return Hearing(detector.start(), np.zeros(0, np.float32))


def listen(
    state: Hearing, samples: Samples, reference: Samples | None, detector: Detector[Any], rules: HearingRules
) -> tuple[tuple[Frame, ...], Hearing]:
    """The frames that are whole after more samples (S,), with what was played meanwhile (S,), where it is known.

    Raises:
        InputError: samples that are not finite or of more than one channel, or a reference of another length.
    """
    _check(samples, reference)
    held = np.concatenate([state.held, np.clip(samples, -1.0, 1.0).astype(np.float32)])
    played = _played(state, reference, len(samples))
    whole = len(held) - len(held) % FRAME
    state = replace(state, held=held[whole:], held_reference=None if played is None else played[whole:])
    if not whole:
        return (), state
    ready = held[:whole]
    if played is not None:
        ready, state = _without_echo(state, ready, played[:whole])
    blocks = ready.reshape(-1, FRAME)  # (N, FRAME)
    probabilities, memory = detector(blocks, state.memory)
    state = replace(state, memory=memory)
    frames = []
    for block, probability, level in zip(blocks, probabilities.tolist(), levels(blocks).tolist(), strict=True):
        state = _placed(state, probability, level, rules)
        frames.append(Frame(block, probability, state.speaking))
    return tuple(frames), state


def _without_echo(state: Hearing, recorded: Samples, played: Samples) -> tuple[Samples, Hearing]:
    clean, room = echo.cancel(state.room or echo.start(), recorded, played)
    playing = (*state.playing, *levels(played.reshape(-1, FRAME)).tolist())[-PEAK_FRAMES:]
    before, behind = levels(recorded[None])[0], levels(clean[None])[0]
    known = state.room_known or (max(playing) > SILENT and before > SILENT and before - behind >= KNOWN_ROOM)
    return clean, replace(state, room=room, room_known=known, playing=playing)


def learn_voice(state: Hearing) -> Hearing:
    """The frame just judged was of somebody who has the floor: how loud they are from where they are."""
    loud = max(state.recent)
    near = loud if state.near is None else state.near + LEARNING * (loud - state.near)
    return replace(state, near=near)


def _placed(state: Hearing, probability: float, level: float, rules: HearingRules) -> Hearing:
    recent = (*state.recent, level)[-PEAK_FRAMES:]
    loud = max(recent)
    near_enough = loud >= rules.faintest and (state.near is None or loud >= state.near - rules.far)
    if not state.room_known and state.playing and max(state.playing) > SILENT:
        near_enough &= loud >= max(state.playing)
    likely = probability >= (rules.end_threshold if state.speaking else rules.threshold)
    return replace(state, recent=recent, speaking=likely and near_enough)


def _check(samples: Samples, reference: Samples | None) -> None:
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise InputError(f"sound of shape {samples.shape}: give finite samples (S,) of one channel")
    if reference is not None and len(reference) != len(samples):
        raise InputError(f"{len(reference)} samples were played during {len(samples)}: give equally many")


def _played(state: Hearing, reference: Samples | None, count: int) -> Samples | None:
    """The reference of all that is held; silence where it was not known before, or is not known now."""
    if reference is None and state.held_reference is None:
        return None
    before = np.zeros(len(state.held), np.float32) if state.held_reference is None else state.held_reference
    return np.concatenate([before, np.zeros(count, np.float32) if reference is None else reference])


def frames_of(seconds: float) -> int:
    """Frames of a time, at least one."""
    return max(1, round(seconds / FRAME_SECONDS))


def cut_into(samples: Samples, size: int) -> Iterator[Samples]:
    """Blocks of at most `size` samples."""
    return (samples[at : at + size] for at in range(0, len(samples), size))
