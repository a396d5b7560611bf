"""Random changes of a training clip: speed, silence around it, echo, noise, band, loudness, codec.

Everything is drawn from the generator that is passed in, so a seed gives the same clip. Word times move with
the sound; labels stay. The changes of a waveform are in corpus/waveform.py, those of features in spec_augment.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_args

import numpy as np
from msgspec import Meta

from osum.corpus.packed import Float32
from osum.corpus.waveform import (
    Codec,
    add_noise,
    change_speed,
    echo,
    fast_length,
    limit_band,
    set_level,
    surround,
    transcode,
)
from osum.errors import InputError
from osum.records import RecordError, read
from osum.training.config import Share
from osum.training.spec_augment import OURS, SpecAugment
from osum.utterance import Word

Speed = Annotated[float, Meta(ge=0.25, le=4)]
Seconds = Annotated[float, Meta(ge=0, le=30)]
Decay = Annotated[float, Meta(ge=0.01, le=10)]
Decibels = Annotated[float, Meta(ge=-100, le=100)]
Level = Annotated[float, Meta(ge=-100, le=0)]
Hertz = Annotated[float, Meta(ge=100, le=8000)]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How often and how strongly each change is made; the codec and SpecSub are off unless asked for."""

    speed_probability: Share = 0.5
    speed: tuple[Speed, Speed] = (0.9, 1.1)
    silence_probability: Share = 0.5
    max_silence: Seconds = 0.6
    """Seconds, at either end."""
    echo_probability: Share = 0.25
    decay: tuple[Decay, Decay] = (0.1, 0.4)
    """Seconds to -60 dB."""
    noise_probability: Share = 0.6
    snr: tuple[Decibels, Decibels] = (5.0, 30.0)
    """dB."""
    band_probability: Share = 0.5
    band: tuple[Hertz, Hertz] = (3400.0, 8000.0)
    """Hz, the highest frequency that stays."""
    level: tuple[Level, Level] = (-35.0, -10.0)
    """dB of full scale, the loudness (RMS) of the clip in the end."""
    codec_probability: Share = 0.0
    codecs: Annotated[tuple[Codec, ...], Meta(min_length=1)] = get_args(Codec)
    """Lossy codings, one of which is drawn: mulaw, gsm, opus, vorbis, mp3."""
    spec: SpecAugment = OURS
    """Masks and substitutions of features."""

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any] | None) -> Augmentation:
        """The options that a recipe names, `spec` being a mapping of its own; all others keep their defaults.

        Raises:
            InputError: a key is unknown, or a value is of the wrong kind or outside its limits.
        """
        for name in mapping if isinstance(mapping, Mapping) else ():
            if name in ("pitch", "formants") or str(name).startswith("event_"):
                raise InputError(f"augmentation.{name}: mix events ahead of training, by insert_events of a plan")
        try:
            options: Augmentation = read(cls, {} if mapping is None else mapping, "augmentation")
        except RecordError as fault:
            raise InputError(str(fault)) from fault
        for name in (item.name for item in fields(cls) if isinstance(item.default, tuple) and item.name != "codecs"):
            least, greatest = getattr(options, name)
            if least > greatest:
                raise InputError(f"augmentation.{name} is {[least, greatest]}: [least, greatest] is needed")
        return options


DEFAULT = Augmentation()


def augment(
    samples: Float32,
    rng: np.random.Generator,
    words: tuple[Word, ...] = (),
    noises: Sequence[Float32] = (),
    options: Augmentation = DEFAULT,
) -> tuple[Float32, tuple[Word, ...]]:
    """A changed copy of a clip (S,) and of its word times; 16 kHz float32 in and out.

    Args:
        samples: the clip.
        rng: decides everything.
        words: times in seconds of the clip.
        noises: recordings (S,) to put below the clip, next to white to brown noise.
        options: how often and how strongly.

    Raises:
        InputError: libsndfile lacks a codec that is asked for.
    """
    if rng.random() < options.speed_probability:
        samples, words = change_speed(samples, words, rng.uniform(*options.speed))
    if rng.random() < options.silence_probability:
        lead, trail = rng.uniform(0, options.max_silence, size=2)
        samples, words = surround(samples, words, lead, trail)
    if samples.size == 0:
        return samples.astype(np.float32), words
    if rng.random() < options.echo_probability:
        samples = echo(samples, rng.uniform(*options.decay), rng)
    if rng.random() < options.noise_probability:
        samples = add_noise(samples, _noise(samples.size, noises, rng), rng.uniform(*options.snr))
    if rng.random() < options.band_probability:
        samples = limit_band(samples, rng.uniform(*options.band))
    samples = set_level(samples, rng.uniform(*options.level))
    if rng.random() < options.codec_probability:
        samples = transcode(samples, options.codecs[rng.integers(len(options.codecs))])
    return samples, words


def _noise(size: int, noises: Sequence[Float32], rng: np.random.Generator) -> Float32:
    """A recorded noise from a random place, repeated as needed, or noise between white and brown; (size,)."""
    usable = [noise for noise in noises if noise.size]
    if usable and rng.random() < 0.5:
        noise = usable[rng.integers(len(usable))]
        return np.resize(np.roll(noise, -int(rng.integers(noise.size))), size).astype(np.float32)
    length = fast_length(size)
    spectrum = np.fft.rfft(rng.standard_normal(length, dtype=np.float32))
    spectrum /= np.maximum(np.arange(spectrum.size), 1) ** rng.uniform(0, 1)
    return np.fft.irfft(spectrum, length)[:size].astype(np.float32)
