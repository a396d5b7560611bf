"""Random changes of a clip: speed, silence around it, echo, noise, band, loudness, codec, a vocal event in it.

Everything is drawn from the generator that is passed in, so a seed gives the same clip. Word times move with
the sound; only `EventMixer` changes labels. What happens to features stands in spec_augment.py.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from msgspec import Meta

from osum.audio import SAMPLE_RATE
from osum.corpus.packed import Float32
from osum.errors import InputError
from osum.records import RecordError, read
from osum.training.config import Share
from osum.training.spec_augment import OURS, SpecAugment
from osum.utterance import Utterance, Word

Read = Callable[[Utterance], Float32]
Complex = npt.NDArray[np.complexfloating[Any, Any]]

Codec = Literal["mulaw", "gsm", "opus", "vorbis", "mp3"]
CODECS: dict[str, tuple[str, str, int]] = {
    "mulaw": ("WAV", "ULAW", 8000),  # telephone
    "gsm": ("WAV", "GSM610", 8000),  # old mobile telephone
    "opus": ("OGG", "OPUS", SAMPLE_RATE),  # calls over the internet
    "vorbis": ("OGG", "VORBIS", SAMPLE_RATE),
    "mp3": ("MP3", "MPEG_LAYER_III", SAMPLE_RATE),
}
"""Name to libsndfile's container and coding, and the rate in Hz that it codes at."""

_PEAK = 0.98
_QUIET = 1e-4  # level below which a clip counts as silent and noise is set against this level
_FRAME = SAMPLE_RATE // 100
_FLOOR = 10 ** (-30 / 20)  # below the loudest frame by this, a frame counts as silence
_FADE = SAMPLE_RATE // 100
_FFT, _HOP = 512, 128  # samples; 32 ms hold three periods of a deep voice
_ENVELOPE_ROUNDS = 4  # of the true envelope (Roebel and Rodet 2005), which rests on the partials and not between them
_LIFTER = 24  # samples, 1.5 ms: what is slower in the cepstrum is pitch, up to 660 Hz


Speed = Annotated[float, Meta(ge=0.25, le=4)]
Factor = Annotated[float, Meta(ge=0.5, le=2)]
Seconds = Annotated[float, Meta(ge=0, le=30)]
EventSeconds = Annotated[float, Meta(ge=0.1, le=30)]
Decay = Annotated[float, Meta(ge=0.01, le=10)]
Decibels = Annotated[float, Meta(ge=-100, le=100)]
Level = Annotated[float, Meta(ge=-100, le=0)]
Hertz = Annotated[float, Meta(ge=100, le=8000)]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How often and how strongly each change is made; the codec, the event and SpecSub are off unless asked for."""

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
    event_probability: Share = 0.0
    """Share of the clips with speech and without an event that get a vocal event mixed in."""
    event_level: tuple[Decibels, Decibels] = (-6.0, 3.0)
    """dB of the event against the speech (RMS)."""
    event_seconds: tuple[EventSeconds, EventSeconds] = (1.2, 3.0)
    """How much of the event is taken at most."""
    event_overhang: Seconds = 0.6
    """Seconds that the event may begin before the speech or end behind it; more makes longer batches."""
    pitch: tuple[Factor, Factor] = (0.8, 1.25)
    """Factor on the pitch of the event's voice."""
    formants: tuple[Factor, Factor] = (0.85, 1.2)
    """Factor on the formants of the event's voice."""
    spec: SpecAugment = OURS
    """Masks and substitutions of features."""

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any] | None) -> Augmentation:
        """The options that a recipe names, `spec` being a mapping of its own; all others keep their defaults.

        Raises:
            InputError: a key is unknown, or a value is of the wrong kind or outside its limits.
        """
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
        noises: recordings (S,) to put below the clip, beside white to brown noise.
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
    samples = _set_level(samples, rng.uniform(*options.level))
    if rng.random() < options.codec_probability:
        samples = transcode(samples, options.codecs[rng.integers(len(options.codecs))])
    return samples, words


def change_speed(samples: Float32, words: tuple[Word, ...], speed: float) -> tuple[Float32, tuple[Word, ...]]:
    """Play faster (speed > 1) or slower, pitch and all: (S,) to about (S / speed,)."""
    changed = soxr.resample(samples, speed, 1.0, quality="LQ") if samples.size else samples
    return changed.astype(np.float32), tuple(Word(w.text, w.start / speed, w.end / speed, w.confidence) for w in words)


def surround(samples: Float32, words: tuple[Word, ...], lead: float, trail: float) -> tuple[Float32, tuple[Word, ...]]:
    """Zeros of `lead` and `trail` seconds before and behind the clip."""
    front, back = round(lead * SAMPLE_RATE), round(trail * SAMPLE_RATE)
    shift = front / SAMPLE_RATE
    moved = tuple(Word(w.text, w.start + shift, w.end + shift, w.confidence) for w in words)
    return np.pad(samples, (front, back)).astype(np.float32), moved


def echo(samples: Float32, decay: float, rng: np.random.Generator) -> Float32:
    """A small room: the sound and an exponentially dying noise tail of `decay` seconds to -60 dB; (S,) to (S,)."""
    size = max(round(decay * SAMPLE_RATE), 2)
    tail = rng.standard_normal(size) * 10 ** (-3 * np.arange(size) / size)
    tail[: SAMPLE_RATE // 500] = 0  # 2 ms until the first wall answers
    tail *= rng.uniform(0.1, 0.5) / max(float(np.sqrt((tail**2).sum())), 1e-9)
    tail[0] = 1.0
    length = _fast_length(samples.size + size)
    wet = np.fft.irfft(np.fft.rfft(samples, length) * np.fft.rfft(tail, length), length)
    return wet[: samples.size].astype(np.float32)


def add_noise(samples: Float32, noise: Float32, snr: float) -> Float32:
    """Put noise (S,) `snr` dB below the clip's level; (S,) to (S,)."""
    gain = max(_level(samples), _QUIET) / max(_level(noise), 1e-9) * 10 ** (-snr / 20)
    return (samples + np.float32(gain) * noise).astype(np.float32)


def limit_band(samples: Float32, highest: float) -> Float32:
    """Take out what is above `highest` Hz, with a soft edge of 300 Hz; (S,) to (S,)."""
    length = _fast_length(samples.size)
    frequencies = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    mask = np.clip((highest - frequencies) / 300 + 1, 0, 1)
    return np.fft.irfft(np.fft.rfft(samples, length) * mask, length)[: samples.size].astype(np.float32)


def transcode(samples: Float32, codec: str) -> Float32:
    """Code and decode in memory, with libsndfile's own rate; no delay, (S,) to (S,).

    Raises:
        InputError: libsndfile lacks the codec.
    """
    container, coding, rate = CODECS[codec]
    if not soundfile.check_format(container, coding):
        raise InputError(f"libsndfile has no {coding}: update soundfile, or leave {codec!r} out of `codecs`")
    if samples.size == 0:
        return samples.astype(np.float32)
    file = io.BytesIO()
    sent = soxr.resample(np.pad(samples, (0, _FRAME)), SAMPLE_RATE, rate, quality="LQ")
    soundfile.write(file, np.clip(sent, -1, 1), rate, format=container, subtype=coding)
    file.seek(0)
    received = soxr.resample(soundfile.read(file, dtype="float32")[0], rate, SAMPLE_RATE, quality="LQ")
    return np.clip(_fit(received, samples.size), -1, 1)


def shift_voice(samples: Float32, pitch: float, formants: float) -> Float32:
    """Another voice that says the same: pitch and formants times a factor, the length kept; (S,) to (S,).

    Stands for the voice conversion of events in the paper (2.4), without a model: (1) play the clip faster by
    `pitch`, which moves all frequencies; (2) move its spectral envelope, smoothed in the cepstrum, on to
    `formants`; (3) stretch it back to its length with a phase vocoder.
    """
    played, _ = change_speed(samples, (), pitch)
    spectrum = _stft(played)  # (F, K)
    spectrum = spectrum * _envelope_gain(np.abs(spectrum), pitch / formants)
    return _fit(_inverse_stft(_stretch(spectrum, pitch)), samples.size)


def overlay(samples: Float32, words: tuple[Word, ...], event: Float32, start: int) -> tuple[Float32, tuple[Word, ...]]:
    """Add an event (E,) from sample `start` on; (S,) to the length of both.

    An event that begins before the speech (start < 0) moves the speech and its words by as much.
    """
    front = max(-start, 0)
    mixed = np.zeros(front + max(samples.size, start + event.size), np.float32)
    mixed[front : front + samples.size] += samples
    mixed[front + start : front + start + event.size] += event
    shift = front / SAMPLE_RATE
    moved = tuple(Word(w.text, w.start + shift, w.end + shift, w.confidence) for w in words)
    return mixed / np.float32(max(1.0, float(np.abs(mixed).max(initial=0.0)) / _PEAK)), moved


def excerpt(event: Float32, label: str, seconds: tuple[float, float], rng: np.random.Generator) -> Float32:
    """The loud part of an event, at most a length between `seconds`: its beginning, or any part of a cry."""
    event = event[loud_part(event)]
    longest = int(rng.uniform(*seconds) * SAMPLE_RATE)
    first = int(rng.integers(max(event.size - longest, 0) + 1)) if label == "cry" else 0
    return event[first : first + longest]


def loud_part(samples: Float32) -> slice:
    """The samples from the first to the last frame that is not silence."""
    frames = samples[: samples.size // _FRAME * _FRAME].reshape(-1, _FRAME)
    level = np.sqrt((frames**2).mean(axis=1))
    loud = np.flatnonzero(level > _FLOOR * level.max(initial=0.0))
    return slice(int(loud[0]) * _FRAME, (int(loud[-1]) + 1) * _FRAME) if loud.size else slice(0, samples.size)


def labels_with_event(labels: Mapping[str, str], event: str) -> dict[str, str]:
    """The labels of speech in which an event was mixed: how the speaker feels is not known any more."""
    changed = {name: label for name, label in labels.items() if name not in ("emotion", "event")}
    if event == "cry":
        changed.pop("age", None)  # two ages are heard
    return {**changed, "event": event}


class EventMixer:
    """Mixes vocal events, their voices shifted, into speech without one; the label becomes the event's.

    Args:
        rows: training rows; those without words and with an event are the events, each event as likely
            as the others. `other` is left out, since it names a noise as well as a voice.
        read: row to waveform (S,), 16 kHz.
        options: how often, how loud, how long, and how far the voice is shifted.
    """

    def __init__(self, rows: Iterable[Utterance], read: Read, options: Augmentation = DEFAULT) -> None:
        self.read = read
        self.options = options
        self.events: dict[str, list[Utterance]] = defaultdict(list)
        for row in rows:
            if row.text == "" and (label := row.labels.get("event", "none")) not in ("none", "other"):
                self.events[label].append(row)

    def __call__(self, samples: Float32, utterance: Utterance, rng: np.random.Generator) -> tuple[Float32, Utterance]:
        """A clip (S,) with an event somewhere and its utterance, or both as they were."""
        fits = utterance.text and utterance.labels.get("event") == "none" and samples.size and self.events
        if not fits or rng.random() >= self.options.event_probability:
            return samples, utterance
        label = sorted(self.events)[rng.integers(len(self.events))]
        sounds = self.events[label]
        event = self._event(sounds[rng.integers(len(sounds))], label, samples.size, rng)
        if event.size == 0 or _level(event) < _QUIET:
            return samples, utterance
        gain = max(_level(samples), _QUIET) / _level(event) * 10 ** (rng.uniform(*self.options.event_level) / 20)
        overhang = round(self.options.event_overhang * SAMPLE_RATE)
        start = int(rng.integers(-min(overhang, event.size), samples.size - event.size + overhang + 1))
        mixed, words = overlay(samples, utterance.words, event * np.float32(gain), start)
        labels = labels_with_event(utterance.labels, label)
        return mixed, utterance.with_(words=words, labels=labels, reply=None)

    def _event(self, sound: Utterance, label: str, size: int, rng: np.random.Generator) -> Float32:
        """A part of the event, not much longer than a clip of `size` samples, in another voice, its ends faded."""
        shortest, longest = (
            min(s, size / SAMPLE_RATE + self.options.event_overhang) for s in self.options.event_seconds
        )
        event = excerpt(self.read(sound), label, (shortest, longest), rng)
        event = shift_voice(event, rng.uniform(*self.options.pitch), rng.uniform(*self.options.formants))
        fade = np.minimum(np.arange(event.size) / _FADE, 1)
        return (event * fade * fade[::-1]).astype(np.float32)


def _stft(samples: Float32) -> Complex:
    """Frames centred on every `_HOP`-th sample; (S,) to (F, K)."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (_FFT // 2, _FFT)), _FFT)[::_HOP]
    return np.fft.rfft(frames * _window())


def _inverse_stft(spectrum: Complex) -> Float32:
    """Overlapping frames (F, K) added up to about (F * _HOP,)."""
    frames = np.fft.irfft(spectrum, _FFT) * _window() / 1.5  # four squared windows overlap to 1.5
    blocks = np.zeros((len(frames) + _FFT // _HOP - 1, _HOP))
    for number in range(_FFT // _HOP):
        blocks[number : number + len(frames)] += frames[:, number * _HOP : (number + 1) * _HOP]
    return blocks.ravel()[_FFT // 2 :].astype(np.float32)


def _window() -> Float32:
    return np.hanning(_FFT + 1)[:-1].astype(np.float32)


def _stretch(spectrum: Complex, factor: float) -> Complex:
    """Phase vocoder: `factor` times as many frames with the same frequencies; (F, K) to about (F * factor, K)."""
    places = np.arange(int((len(spectrum) - 1) * factor)) / factor
    before = places.astype(int)
    part = (places - before)[:, None]
    size = np.abs(spectrum)
    expected = 2 * np.pi * np.arange(spectrum.shape[1]) * _HOP / _FFT  # phase that a bin's own frequency gains a frame
    gained = np.angle(spectrum[1:] * spectrum[:-1].conj() * np.exp(-1j * expected)) + expected
    phase = np.angle(spectrum[0]) + np.cumsum(gained[before], axis=0) - gained[before]
    return ((1 - part) * size[before] + part * size[before + 1]) * np.exp(1j * phase)


def _envelope_gain(size: npt.NDArray[np.floating[Any]], ratio: float) -> npt.NDArray[np.floating[Any]]:
    """What to multiply bins (F, K) with so that their smooth envelope is read at `ratio` times the frequency."""
    log_size = np.log(size + 1e-3 * size.max(initial=0.0) + 1e-9)
    envelope = log_size
    for _ in range(_ENVELOPE_ROUNDS):
        cepstrum = np.fft.irfft(np.maximum(log_size, envelope))
        cepstrum[:, _LIFTER : 1 - _LIFTER] = 0
        envelope = np.fft.rfft(cepstrum).real  # (F, K)
    places = np.minimum(np.arange(size.shape[1]) * ratio, size.shape[1] - 1)
    before = np.minimum(places.astype(int), size.shape[1] - 2)
    part = places - before
    wanted = (1 - part) * envelope[:, before] + part * envelope[:, before + 1]
    return np.exp(np.clip(wanted - envelope, -2.3, 2.3))  # 20 dB


def _fit(samples: Float32, size: int) -> Float32:
    """Cut or filled up with zeros to (size,)."""
    return np.pad(samples[:size], (0, max(size - samples.size, 0))).astype(np.float32)


def _noise(size: int, noises: Sequence[Float32], rng: np.random.Generator) -> Float32:
    """A recorded noise from a random place, repeated as needed, or noise between white and brown; (size,)."""
    usable = [noise for noise in noises if noise.size]
    if usable and rng.random() < 0.5:
        noise = usable[rng.integers(len(usable))]
        return np.resize(np.roll(noise, -int(rng.integers(noise.size))), size).astype(np.float32)
    length = _fast_length(size)
    spectrum = np.fft.rfft(rng.standard_normal(length, dtype=np.float32))
    spectrum /= np.maximum(np.arange(spectrum.size), 1) ** rng.uniform(0, 1)
    return np.fft.irfft(spectrum, length)[:size].astype(np.float32)


def _set_level(samples: Float32, decibels: float) -> Float32:
    """Bring the clip to a loudness without clipping; silence stays silence."""
    gain = 10 ** (decibels / 20) / max(_level(samples), _QUIET)
    peak = float(np.abs(samples).max(initial=0.0)) * gain
    return (samples * np.float32(gain * min(1.0, _PEAK / max(peak, _PEAK)))).astype(np.float32)


def _level(samples: Float32) -> float:
    """RMS of a clip (S,)."""
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def _fast_length(size: int) -> int:
    """A length with a fast Fourier transform: 2, 3 or 5 times a power of two, at least `size`."""
    power = 1 << max(size - 1, 1).bit_length()
    return next(length for length in (power // 8 * 5, power // 4 * 3, power) if length >= size)
