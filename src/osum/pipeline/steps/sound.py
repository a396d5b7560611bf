"""Sound to rows: decode, loudness, cut, quality. Every level is in dB of full scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta

from osum.audio import SAMPLE_RATE
from osum.corpus.clips import ClipAudio
from osum.corpus.packed import Float32
from osum.errors import CheckpointError, InputError, MissingExtraError
from osum.listening.vad import FRAME, FRAMES_PER_SECOND, SpanOptions, detector_named, levels, speech_spans
from osum.pipeline.row import DropError, Row
from osum.pipeline.step import ModelStep, a_file, stamp, step

SILENT = -70.0  # dBFS; nothing was recorded
FULL = 0.999  # of full scale; a sample at or above it is clipped
SPEECH = 0.5  # probability


@dataclass(frozen=True)
class DecodeOptions:
    """Of `decode`."""

    store: bool = False
    """Keep the sound as 16 kHz flac: for formats that are slow to read at a place, such as mp3 and m4a."""
    longest: Annotated[float, Meta(gt=0, le=86_400)] = 7200.0  # s
    shortest: Annotated[float, Meta(ge=0)] = 0.1  # s


@step("decode", version=1)
def decode(row: Row, options: DecodeOptions) -> Row:
    """Read each sound to its end, and note its length; what cannot be read, is silent or of a wrong length goes."""
    seconds = ClipAudio().duration(row.utterance)
    if not options.shortest <= seconds <= options.longest:
        raise DropError("too short" if seconds < options.shortest else "too long", f"{seconds:.2f} s")
    peak = float(np.abs(row.samples).max(initial=0.0))
    if 20 * np.log10(max(peak, 1e-9)) < SILENT:
        raise DropError("silent", f"peak {peak:.1e}")
    read = row.with_(duration=round(len(row.samples) / SAMPLE_RATE, 4))
    return read.heard_as(row.samples) if options.store else read


@dataclass(frozen=True)
class LoudnessOptions:
    """Of `loudness`."""

    level: Annotated[float, Meta(ge=-60, le=-6)] = -23.0
    """dBFS of the frames with sound."""
    highest_peak: Annotated[float, Meta(ge=-20, le=0)] = -1.0  # dBFS


@step("loudness", version=1)
def loudness(row: Row, options: LoudnessOptions) -> Row:
    """Bring each clip to one level, measured where it is loudest, without clipping."""
    gain = 10 ** ((options.level - speech_level(row.samples)) / 20)
    highest = 10 ** (options.highest_peak / 20)
    peak = float(np.abs(row.samples).max(initial=0.0))
    return row.heard_as(row.samples * np.float32(min(gain, highest / max(peak, 1e-9))))


def speech_level(samples: Float32) -> float:
    """dBFS of the loud half of the frames that are within 30 dB of the loudest, of a clip (S,)."""
    found = levels(in_frames(samples))
    loud = found[found > found.max() - 30]
    return float(10 * np.log10(np.mean(10 ** (np.sort(loud)[len(loud) // 2 :] / 10))))


@dataclass(frozen=True)
class CutOptions:
    """Of `cut`."""

    longest: Annotated[float, Meta(gt=1, le=600)] = 30.0  # s
    shortest: Annotated[float, Meta(ge=0)] = 0.5  # s
    pause: Annotated[float, Meta(ge=0.1, le=10)] = 0.6
    """Seconds without speech at which a piece ends."""
    around: Annotated[float, Meta(ge=0, le=2)] = 0.15
    """Seconds kept before and behind the speech of a piece, where there are."""
    detector: Literal["auto", "silero", "energy"] = "auto"


@step("cut", version=1)
def cut(row: Row, options: CutOptions) -> list[Row]:
    """Cut recordings at pauses into pieces with speech, too long ones where speech is least likely.

    A row with a text that is not longer than `longest` stays whole: nobody knows which words are in which piece.
    """
    samples = row.samples
    if row.utterance.text is not None and len(samples) <= options.longest * SAMPLE_RATE:
        return [row]
    probabilities = speech_probabilities(samples, options.detector)
    pieces = [
        piece
        for first, last in speech_spans(probabilities, SpanOptions(min_silence=_frames(options.pause)))
        for piece in _shorter(probabilities, first, last, _frames(options.longest - 2 * options.around))
    ]
    begin = row.utterance.start or 0.0
    whole = len(samples) / SAMPLE_RATE
    rows = []
    for number, (first, last) in enumerate(pieces):
        start, end = max(0.0, _seconds(first) - options.around), min(whole, _seconds(last) + options.around)
        if end - start >= options.shortest:
            rows.append(_piece(row, number, round(begin + start, 3), round(begin + end, 3)))
    if not rows:
        raise DropError("no speech")
    return rows


def _piece(row: Row, number: int, start: float, end: float) -> Row:
    """A stretch of the file; what was known of the whole recording's words and events is not true of it."""
    kept = {name: label for name, label in row.utterance.labels.items() if name != "event"}
    changes = {"text": None, "words": (), "labels": kept, "segments": (), "events": (), "summary": {}}
    piece = row.with_(id=f"{row.id}-{number:04d}", start=start, end=end, duration=round(end - start, 4), **changes)
    return piece.noting(cut_from=row.id)


def speech_probabilities(samples: Float32, detector: str = "auto") -> Float32:
    """How likely speech is in each frame of 32 ms of a clip (S,): (N,).

    Raises:
        MissingExtraError: silero-vad is asked for and not installed.
    """
    found = detector_named(detector)
    probabilities, _ = found(in_frames(samples), found.start())
    return np.asarray(probabilities)


def _shorter(probabilities: Float32, first: int, last: int, longest: int) -> Iterator[tuple[int, int]]:
    """Frames [first, last) in pieces of at most `longest`, cut where speech is least likely in their last half."""
    while last - first > longest:
        half = first + longest // 2
        at = half + int(probabilities[half : first + longest].argmin()) + 1
        yield first, at
        first = at
    yield first, last


def _frames(seconds: float) -> int:
    return max(1, round(seconds * FRAMES_PER_SECOND))


def _seconds(frames: int) -> float:
    return frames / FRAMES_PER_SECOND


@dataclass(frozen=True)
class QualityOptions:
    """Of `quality`."""

    min_snr: Annotated[float, Meta(ge=-20, le=100)] = 10.0
    """dB between frames with speech and frames without."""
    max_clipped: Annotated[float, Meta(ge=0, le=1)] = 0.001
    """Share of samples at full scale."""
    detector: Literal["auto", "silero", "energy"] = "auto"


@step("quality", version=1)
def quality(row: Row, options: QualityOptions) -> Row:
    """Note the signal-to-noise ratio and the share of clipped samples; leave out what is noisy or clipped."""
    snr, clipped = signal_to_noise(row.samples, options.detector), float(np.mean(np.abs(row.samples) >= FULL))
    if clipped > options.max_clipped:
        raise DropError("clipped", f"{100 * clipped:.2f} % of the samples")
    if snr is not None and snr < options.min_snr:
        raise DropError("noisy", f"{snr:.1f} dB")
    return row.noting(snr=None if snr is None else round(snr, 1), clipped=round(clipped, 6))


def signal_to_noise(samples: Float32, detector: str = "auto") -> float | None:
    """Mean power of frames with speech over that of frames without, in dB, of a clip (S,); None without either kind.

    Frames next to the edges of speech are of neither kind: words fade in and out.
    """
    speech = speech_probabilities(samples, detector) > SPEECH
    near = np.convolve(speech, np.ones(5), "same") > 0
    power = 10 ** (levels(in_frames(samples)) / 10)
    if not speech.any() or near.all():
        return None
    return float(10 * np.log10(power[speech].mean() / max(power[~near].mean(), 1e-12)))


def in_frames(samples: Float32) -> Float32:
    """A clip (S,) as frames (N, 512), at least one, the last filled up with zeros."""
    missing = -len(samples) % FRAME if len(samples) else FRAME
    return np.pad(samples, (0, missing)).reshape(-1, FRAME)


@dataclass(frozen=True)
class MosOptions:
    """Of `mos`."""

    model: str = a_file()
    """DNSMOS P.835, `sig_bak_ovr.onnx` of https://github.com/microsoft/DNS-Challenge; not part of osum."""
    min_mos: Annotated[float, Meta(ge=1, le=5)] = 3.0

    def __post_init__(self) -> None:
        if not self.model:
            raise InputError("model is missing: name the DNSMOS file, sig_bak_ovr.onnx")


@step("mos", version=1)
class Mos(ModelStep):
    """Overall quality from 1 to 5 as DNSMOS P.835 estimates it; leave out what is below `min_mos`."""

    options: MosOptions
    batch = 1
    seconds = 9.01
    """That the model looks at; longer clips are the mean of their pieces, a second apart."""
    fit = np.poly1d([-0.06766283, 1.11546468, 0.04602535])
    """From the model's scale to that of listeners (DNS-Challenge, `dnsmos_local.py`)."""

    def __init__(self, options: MosOptions) -> None:
        super().__init__(options)
        self._session: Any = None

    def identity(self) -> str:
        """See `ModelStep`."""
        return stamp(Path(self.options.model))

    def given(self, row: Row) -> str:
        """See `ModelStep`."""
        return row.sound_hash

    def answer(self, rows: Sequence[Row]) -> Sequence[Any]:
        """See `ModelStep`."""
        if self._session is None:
            self._session = onnx_session(Path(self.options.model))
        return [self._score(row.samples) for row in rows]

    def _score(self, samples: Float32) -> float:
        size = int(self.seconds * SAMPLE_RATE)
        whole = np.tile(samples, -(-size // max(len(samples), 1)))
        pieces = [whole[at : at + size] for at in range(0, len(whole) - size + 1, SAMPLE_RATE)]
        scores = [self._session.run(None, {"input_1": piece[None]})[0][0][2] for piece in pieces]
        return round(float(np.mean(self.fit(np.array(scores)))), 4)

    def apply(self, row: Row, answer: Any) -> Row:
        """See `ModelStep`."""
        if answer < self.options.min_mos:
            raise DropError("low quality", f"MOS {answer:.2f}")
        return row.noting(mos=answer)


def onnx_session(path: Path) -> Any:
    """A session of one thread on the CPU.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        CheckpointError: the file is no ONNX model.
    """
    try:
        import onnxruntime
    except ImportError as fault:
        raise MissingExtraError("onnxruntime", "vad") from fault
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except Exception as fault:  # onnxruntime has an error class for each of its codes
        raise CheckpointError(f"{path} is no ONNX model ({' '.join(str(fault).split())}): fetch it again") from fault
