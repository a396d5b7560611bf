"""Vocal events put into speech (VED), and noise under it (SGC, SAP): the label and its time stay known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from msgspec import Meta

from osum.audio import SAMPLE_RATE
from osum.corpus.clips import ClipAudio
from osum.corpus.packed import Float32
from osum.corpus.readers import Manifest
from osum.corpus.vocal_events import excerpt, labels_with_event
from osum.corpus.voice_shift import shift_voice
from osum.corpus.waveform import add_noise, level, overlay
from osum.errors import InputError, RecipeError
from osum.listening.vad import FRAME
from osum.pipeline.row import DropError, Row, rng_of
from osum.pipeline.step import a_file, stamp, step
from osum.pipeline.steps.sound import SPEECH, speech_probabilities
from osum.records import unknown
from osum.utterance import Utterance, VocalEvent

QUIET = 1e-4  # RMS; a sound below it is silence
_FADE = SAMPLE_RATE // 100

Factors = tuple[Annotated[float, Meta(ge=0.5, le=2)], Annotated[float, Meta(ge=0.5, le=2)]]
Decibels = tuple[Annotated[float, Meta(ge=-60, le=60)], Annotated[float, Meta(ge=-60, le=60)]]


class VoiceConversion(Protocol):
    """Changes who makes a sound, and not what it is; a plug-in of the entry point group `osum.voice_conversion`."""

    def __call__(self, samples: Float32, target: Float32, rng: np.random.Generator) -> Float32:
        """A sound (S,) in another voice, about as long; `target` (T,) is speech of the voice that it goes with."""
        ...


def shifted(pitch: Factors, formants: Factors) -> VoiceConversion:
    """Pitch and formants shifted by random factors: no model, and no particular voice."""

    def convert(samples: Float32, target: Float32, rng: np.random.Generator) -> Float32:  # noqa: ARG001
        return shift_voice(samples, rng.uniform(*pitch), rng.uniform(*formants))

    return convert


@dataclass(frozen=True)
class InsertEventsOptions:
    """Of `insert_events`."""

    events: str = a_file()
    """Manifest of sounds without words, with the label `event`."""
    of: Literal["any", "label"] = "any"
    """`any` event for speech that has none; or that of the row's `label`, as of dialogues whose user is to cough."""
    at: Literal["silence", "speech", "either"] = "either"
    """Where an event goes: where nobody speaks (or an end), over the speech, or one of both at random."""
    level: Decibels = (-6.0, 3.0)
    """dB of the event against the speech (RMS)."""
    seconds: tuple[Annotated[float, Meta(gt=0, le=30)], Annotated[float, Meta(gt=0, le=30)]] = (0.8, 2.0)
    """How much of an event is taken at most."""
    pitch: Factors = (0.8, 1.25)
    formants: Factors = (0.85, 1.2)
    conversion: str = "shift"
    """`shift`, or the name of a plug-in of the entry point group `osum.voice_conversion`."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.events:
            raise InputError("events is missing: name a manifest of sounds with the label event")


@step("insert_events", version=1)
def insert_events(row: Row, options: InsertEventsOptions) -> Row:
    """Put a vocal event, in another voice, into speech without one; its label and its time are known from then on."""
    wanted, named = row.utterance.labels.get("event", "none"), options.of == "label"
    if named and wanted == "none":
        return row
    if row.utterance.events or (wanted != "none" and not named):
        raise DropError("has an event already", wanted)
    rng, bank = rng_of(row, options.seed), _bank(options.events, stamp(Path(options.events)))
    label = wanted if named else sorted(bank)[rng.integers(len(bank))]
    if label not in bank:
        raise DropError("no sound of this event", f"{label}: {options.events} has {', '.join(sorted(bank))}")
    sound = bank[label][rng.integers(len(bank[label]))]
    event = excerpt(ClipAudio().read(sound), label, options.seconds, rng)
    event = _faded(_conversion(options)(event, row.samples, rng))
    if len(event) == 0 or level(event) < QUIET:
        raise DropError("a silent event", sound.id)
    gain = max(level(row.samples), QUIET) / level(event) * 10 ** (rng.uniform(*options.level) / 20)
    where = options.at if options.at != "either" else ("silence", "speech")[rng.integers(2)]
    start = _place(row.samples, len(event), where, rng)
    base = row.heard_as(row.samples)
    mixed, words = overlay(base.samples, base.utterance.words, event * np.float32(gain), start)
    made = base.with_(words=words).heard_as(mixed)
    if not named:  # what the labels and the reply were made for had no event
        made = made.with_(labels=labels_with_event(made.utterance.labels, label), reply=None)
    begin = max(start, 0) / SAMPLE_RATE
    end = min(begin + len(event) / SAMPLE_RATE, made.utterance.duration or 0.0)
    span = VocalEvent(round(begin, 4), round(end, 4), label)
    licence = " + ".join(dict.fromkeys(filter(None, (row.utterance.licence, sound.licence)))) or None
    placed = made.with_(events=(span,), licence=licence).noting(event_from=sound.id, event_at=where)
    return placed.labelled("event", label, score=1.0)


@lru_cache(maxsize=4)
def _bank(manifest: str, _: str) -> Mapping[str, list[Utterance]]:
    """Events by label; `other` names noises as well as voices, and is left out."""
    found: dict[str, list[Utterance]] = {}
    for line in Manifest(Path(manifest)):
        label = line.utterance.labels.get("event", "none") if line.utterance else "none"
        if line.utterance is not None and label not in ("none", "other") and not line.utterance.text:
            found.setdefault(label, []).append(line.utterance)
    if not found:
        raise RecipeError(f"{manifest} has no event: rows with the label event, without text, are needed")
    return found


@lru_cache(maxsize=4)
def _conversion(options: InsertEventsOptions) -> VoiceConversion:
    """Raises RecipeError where no plug-in has the name."""
    if options.conversion == "shift":
        return shifted(options.pitch, options.formants)
    plugins = {point.name: point for point in entry_points(group="osum.voice_conversion")}
    if options.conversion not in plugins:
        hint = unknown(options.conversion, ["shift", *plugins], "conversions")
        raise RecipeError(f"conversion {options.conversion!r} is not installed: {hint}")
    found: VoiceConversion = plugins[options.conversion].load()
    return found


def _faded(samples: Float32) -> Float32:
    fade = np.minimum(np.arange(len(samples)) / _FADE, 1)
    return (samples * fade * fade[::-1]).astype(np.float32)


def _place(samples: Float32, size: int, where: str, rng: np.random.Generator) -> int:
    """The sample at which an event begins: before the clip (negative), within it, or at its end."""
    speech = np.flatnonzero(speech_probabilities(samples) > SPEECH) * FRAME
    if where == "speech" and len(speech):
        return int(rng.integers(speech[0], max(speech[-1] + FRAME - size, speech[0]) + 1))
    gaps = _gaps(speech, len(samples), size)
    return int(gaps[rng.integers(len(gaps))])


def _gaps(speech: Any, length: int, size: int) -> list[int]:
    """Places at which nobody speaks while an event lasts; before and behind the clip there always are two."""
    edges = [0, *(int(edge) for first in speech for edge in (first, first + FRAME)), length]
    between = [(edges[at] + edges[at + 1] - size) // 2 for at in range(0, len(edges), 2)
               if edges[at + 1] - edges[at] >= size]  # fmt: skip
    return [-size, *between, length]


@dataclass(frozen=True)
class NoiseOptions:
    """Of `noise`."""

    noises: str = a_file()
    """Manifest of noises; noise between white and brown without it."""
    snr: Decibels = (5.0, 25.0)
    copies: Annotated[int, Meta(ge=1, le=10)] = 1
    """Noisy rows of each row."""
    keep_clean: bool = True
    """Whether the row without noise stays next to them: the paper doubles its hours so."""
    seed: int = 0


@step("noise", version=1)
def noise(row: Row, options: NoiseOptions) -> list[Row]:
    """Give each row noisy copies with its labels: trusted labels on sound as it is outside of studios."""
    rng = rng_of(row, options.seed)
    made = [row] if options.keep_clean else []
    for number in range(options.copies):
        sound, name = _noise(options, len(row.samples), rng)
        ratio = float(rng.uniform(*options.snr))
        mixed = add_noise(row.samples, sound, ratio)
        peak = max(1.0, float(np.abs(mixed).max(initial=0.0)) / 0.98)
        noisy = row.heard_as(mixed / np.float32(peak)).with_(id=f"{row.id}-noisy{number}")
        made.append(noisy.noting(noise=name, noise_snr=round(ratio, 1)))
    return made


def _noise(options: NoiseOptions, size: int, rng: np.random.Generator) -> tuple[Float32, str]:
    """A noise (size,) and its name."""
    if options.noises:
        rows = _noises(options.noises, stamp(Path(options.noises)))
        chosen = rows[rng.integers(len(rows))]
        found = ClipAudio().read(chosen)
        return np.resize(np.roll(found, -int(rng.integers(max(len(found), 1)))), size).astype(np.float32), chosen.id
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    slope = float(rng.uniform(0, 1))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** slope
    return np.fft.irfft(spectrum, size).astype(np.float32), f"made, slope {slope:.2f}"


@lru_cache(maxsize=4)
def _noises(manifest: str, _: str) -> list[Utterance]:
    found = [line.utterance for line in Manifest(Path(manifest)) if line.utterance is not None]
    if not found:
        raise RecipeError(f"{manifest} has no row: name a manifest of noises")
    return found


@dataclass(frozen=True)
class TrustedOptions:
    """Of `trusted`."""

    sources: tuple[str, ...]
    """Whose labels are taken; the paper keeps labels by people alone, for gender and age."""
    need: tuple[str, ...] = ("gender",)
    """Label sets that a row must have."""


@step("trusted", version=1)
def trusted(row: Row, options: TrustedOptions) -> Row:
    """Keep rows of sources that people labelled, with the wanted labels; years and decades become the three ages."""
    if row.utterance.source not in options.sources:
        raise DropError("not a trusted source", row.utterance.source or "none named")
    folded = _folded(row)
    missing = [name for name in options.need if name not in folded.utterance.labels]
    if missing:
        raise DropError(f"no {missing[0]}")
    for name in options.need:
        folded = folded.labelled(name, folded.utterance.labels[name], row.utterance.source, 1.0)
    return folded


AGES = ((13, "child"), (60, "adult"), (200, "old"))
"""Years below which somebody is of an age; teenagers sound like adults (paper, part on SAP)."""


def _folded(row: Row) -> Row:
    years = row.extra.get("age_years")
    if "age" in row.utterance.labels or not isinstance(years, (int, float)):
        return row
    age = next((name for limit, name in AGES if years < limit), None)
    return row if age is None else row.with_(labels={**row.utterance.labels, "age": age})
