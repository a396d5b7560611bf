"""Decoders: an opened source of sound each, read block by block at its own rate.

What a header promises and what is there are kept apart, so that a file that was cut off is never half a clip.
Knows nothing of limits, mixing or the rate of osum.
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from osum.errors import AudioError, MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

SOUNDFILE_SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf"}
MEDIA_SUFFIXES = {".m4a", ".m4b", ".mp4", ".mov", ".aac", ".webm", ".mka", ".mkv", ".wma", ".3gp", ".amr"}
"""Containers that need PyAV, the extra `media`."""
CUT_OFF = "cut off"
"""The kind of error of a source that holds less than it promises."""

_DECODE_FRAMES = 2**14  # frames decoded at a time, and how closely a break in a file is located
_HEADER_SLACK = 0.1  # seconds that a header may promise too much: writers round, and count headers as samples
_MEDIA_SLACK = 0.5  # seconds; a codec's run-in and run-out are counted or not
_PIPE_SIZES = (range(0x7FFF_F000, 0x8000_1000), range(0xFFFF_F000, 0x1_0000_0000))
"""Bytes that writers to a pipe (sox, arecord, ffmpeg) promise, since they cannot know."""
_MEDIA_MAGIC = ((4, b"ftyp"), (0, b"\x1aE\xdf\xa3"), (0, b"0&\xb2u"), (0, b"\xff\xf1"), (0, b"\xff\xf9"), (0, b"#!AMR"))
"""Where and how mp4, matroska/webm, wma, aac (two) and amr files begin, for bytes that have no suffix."""
_MISLEADING = "File does not exist or is not a regular file (possibly a pipe?)"
"""What libsndfile says of a file that exists and that its mp3 decoder finds nothing in."""
_READS = "osum reads wav, flac, ogg, opus, mp3 and, with the extra 'media', m4a, mp4 and webm"
_LOGGED_SIZE = re.compile(r"^\s*(?:data|SSND|Data Size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
"""libsndfile's log of wav, aiff and au: bytes of sound promised, and bytes that the file holds."""
_LOGGED_FRAMES = re.compile(r"does not match value from 'ds64' chunk of (\d+)")
"""Its log of a wav above 4 GiB (RF64): frames promised."""
_LOGGED_OPEN_END = re.compile(r"end-of-stream|End-Of-Stream")
"""Its log of an ogg without an end mark."""
_MP3_INDEX = (b"Xing", b"Info", b"VBRI")
"""An mp3 with one of these in its first frame says how many frames it has."""


class Decoder(Protocol):
    """One opened source."""

    name: str
    rate: int
    channels: int
    frames: int | None
    """Samples of one channel that can be read; None where only decoding shows it."""
    promised: int | None
    """Samples of one channel that the header promises; None where it has none."""
    slack: float
    """Seconds by which a promise may be too large."""
    open_end: bool
    """Whether the end mark is missing that its format has."""

    def blocks(self, first: int, last: int | None) -> Iterator[Samples]:
        """Yield frames [first, last) as blocks (S, C)."""

    def close(self) -> None: ...


def is_cut_off(decoder: Decoder, num_frames: int | None) -> bool:
    """Whether a source that ends after so many frames lacks some that it promised."""
    if decoder.promised is None or num_frames is None:
        return False
    return decoder.promised - num_frames > decoder.slack * decoder.rate


def broken(decoder: Decoder, at: int) -> AudioError:
    """The error of a source of which nothing can be read behind frame `at`."""
    promised = decoder.promised or decoder.frames
    total = "" if promised is None else f" of {promised}"
    good = math.floor(at / decoder.rate * 10) / 10  # seconds
    rescue = f", or take the good part with end={good}" if good else ""
    return AudioError(
        f"{decoder.name}: broken after frame {at}{total}; the file is damaged or cut off; fetch it again{rescue}",
        CUT_OFF,
    )


def decoder(content: Path | bytes, name: str) -> Decoder:
    """A decoder by soundfile, else by PyAV for a media container.

    Raises:
        AudioError: neither can decode it.
        MissingExtraError: the container needs PyAV.
    """
    import soundfile

    try:
        # As bytes, since a file name need not be UTF-8 (but on Windows, which has no such names).
        given = os.fsencode(content) if os.name == "posix" and isinstance(content, Path) else content
        file = soundfile.SoundFile(io.BytesIO(content) if isinstance(content, bytes) else given)
        return _SoundFileDecoder(file, name, file.format == "MP3" and _has_mp3_index(content))
    except (soundfile.LibsndfileError, TypeError) as fault:  # TypeError: a headerless .raw
        if _looks_like_media(content, name):
            return _MediaDecoder(content, name)
        reason = getattr(fault, "error_string", str(fault)).rstrip(".").replace(_MISLEADING, "No frame in it")
        raise AudioError(f"{name}: is no audio that can be decoded ({reason}); {_READS}") from fault


def _is_utf8(path: Path) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in str(path))


def _all_of(content: Path | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _bytes_of(content: Path | bytes, at: int, count: int) -> bytes:
    if isinstance(content, bytes):
        return content[at : at + count]
    with content.open("rb") as file:
        file.seek(at)
        return file.read(count)


def _has_mp3_index(content: Path | bytes) -> bool:
    """Whether the first frame, behind an ID3v2 tag whose size is written seven bits a byte, is an index."""
    head, at = _bytes_of(content, 0, 10), 0
    if head.startswith(b"ID3"):
        at = 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    first = _bytes_of(content, at, 200)
    return any(mark in first for mark in _MP3_INDEX)


def _promised(log: str, num_frames: int) -> int:
    """Frames that the header promises, from libsndfile's log: it opens what is there, and notes what should be."""
    if found := _LOGGED_FRAMES.search(log):
        return int(found[1])
    if not (found := _LOGGED_SIZE.search(log)):
        return num_frames
    promised, held = int(found[1]), int(found[2])
    if any(promised in sizes for sizes in _PIPE_SIZES) or held <= 0:
        return num_frames
    return num_frames * promised // held


def _promised_by_container(container: Any, rate: int) -> int | None:
    """Frames that a container promises: by its audio track, or by all of it where that is its only track."""
    stream = container.streams.audio[0]
    if stream.duration is not None and stream.time_base is not None:
        return int(stream.duration * stream.time_base * rate)
    if container.duration is None or len(container.streams) > 1:
        return None
    return int(container.duration * rate // 1_000_000)  # microseconds


def _looks_like_media(content: Path | bytes, name: str) -> bool:
    head = _bytes_of(content, 0, 16)
    return Path(name).suffix.lower() in MEDIA_SUFFIXES or any(head[at:].startswith(magic) for at, magic in _MEDIA_MAGIC)


class ArrayDecoder:
    """(array (S,) or (S, C), rate): integers are scaled to full scale 1.0."""

    def __init__(self, source: tuple[Any, int]) -> None:
        import numpy as np

        self.name = "the given array"
        if len(source) != 2 or np.ndim(source[1]) != 0 or np.ndim(source[0]) == 0:
            kinds = ", ".join(type(item).__name__ for item in source)
            raise AudioError(f"an audio tuple of ({kinds}); give (array, rate in Hz), in this order")
        samples, rate = np.asarray(source[0]), source[1]
        if isinstance(rate, str) or not math.isfinite(rate) or int(rate) != rate:
            raise AudioError(f"{self.name}: rate is {rate!r}; a whole number of Hz is needed")
        self._samples = self._scaled(self._shaped(samples))
        self.rate = int(rate)
        self.frames: int | None
        self.frames, self.channels = self._samples.shape
        self.promised: int | None = self.frames
        self.slack = 0.0
        self.open_end = False

    def _shaped(self, samples: NDArray[Any]) -> NDArray[Any]:
        """To (S, C); an array that may as well be (C, S) is refused rather than guessed at."""
        if samples.ndim == 1:
            return samples[:, None]  # (S, 1)
        if samples.ndim != 2:
            raise AudioError(f"{self.name}: shape {samples.shape}; (samples,) or (samples, channels) is needed")
        if samples.shape[1] > 1 and samples.shape[1] >= samples.shape[0] > 0:
            raise AudioError(f"{self.name}: shape {samples.shape}; (samples, channels) is needed: pass array.T")
        return samples

    def _scaled(self, samples: NDArray[Any]) -> Samples:
        """To float32 with full scale 1.0."""
        import numpy as np

        if samples.dtype in (np.int16, np.int32):
            return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
        if samples.dtype.kind != "f":
            raise AudioError(f"{self.name}: dtype {samples.dtype}; int16, int32 or float is needed; convert it first")
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
            return samples.astype(np.float32, copy=False)

    def blocks(self, first: int, last: int | None) -> Iterator[Samples]:
        for at in range(first, len(self._samples) if last is None else last, _DECODE_FRAMES):
            yield self._samples[at : min(at + _DECODE_FRAMES, last or len(self._samples))]

    def close(self) -> None:
        """Nothing is held open."""


class _SoundFileDecoder:
    """wav, flac, ogg, opus, mp3 and their kin through libsndfile."""

    slack = _HEADER_SLACK

    def __init__(self, file: Any, name: str, has_index: bool) -> None:
        self._file = file
        self.name = name
        self.rate: int = file.samplerate
        self.channels: int = file.channels
        self.frames: int | None = file.frames
        log = file.extra_info
        self.promised: int | None = _promised(log, file.frames)
        self.open_end = _LOGGED_OPEN_END.search(log) is not None
        if file.frames > 2**62 or file.format == "MP3":
            # A flac from a pipe does not know its length, an mp3 without index only guesses it.
            # Not seekable: else soundfile stops at the guess, and seeks after the last read, where libsndfile fails.
            self.frames, file.seekable = None, lambda: False
            self.promised = file.frames if has_index else None

    def blocks(self, first: int, last: int | None) -> Iterator[Samples]:
        return _cut(self._decoded(0, None), first, last) if self.frames is None else self._decoded(first, last)

    def _decoded(self, at: int, last: int | None) -> Iterator[Samples]:
        import soundfile

        try:
            if at:
                self._file.seek(at)
            while last is None or at < last:
                want = _DECODE_FRAMES if last is None else min(_DECODE_FRAMES, last - at)
                block = self._file.read(want, dtype="float32", always_2d=True)  # (S, C)
                if not len(block):
                    return
                at += len(block)
                yield block
        except soundfile.LibsndfileError as fault:
            raise broken(self, at) from fault

    def close(self) -> None:
        self._file.close()


def _cut(blocks: Iterator[Samples], first: int, last: int | None) -> Iterator[Samples]:
    """Frames [first, last) of blocks (S, C) decoded from the beginning, where seeking is not exact to the sample."""
    at = 0
    for block in blocks:
        begin, stop = max(first - at, 0), len(block) if last is None else min(last - at, len(block))
        at += len(block)
        if begin < stop:
            yield block[begin:stop]
        if last is not None and at >= last:
            return


class _MediaDecoder:
    """m4a, mp4, webm and their kin through PyAV, which brings FFmpeg with it."""

    frames: int | None = None
    slack = _MEDIA_SLACK
    open_end = False

    def __init__(self, content: Path | bytes, name: str) -> None:
        try:
            import av
        except ImportError:
            raise MissingExtraError(f"{name}: PyAV, which reads this container,", "media") from None
        self.name = name
        self._fault = av.FFmpegError
        try:
            given = str(content) if isinstance(content, Path) and _is_utf8(content) else io.BytesIO(_all_of(content))
            self._container = av.open(given, metadata_errors="replace")  # titles may be in any encoding
        except av.FFmpegError as fault:
            raise AudioError(f"{name}: is no audio that can be decoded ({fault.strerror}); {_READS}") from fault
        if not self._container.streams.audio:
            self.close()
            raise AudioError(f"{name}: no audio track in it; give a recording that holds sound")
        context = self._container.streams.audio[0].codec_context
        if context is None:
            self.close()
            raise AudioError(f"{name}: its audio track is of a kind that no decoder here knows; convert it to flac")
        self.rate: int = context.sample_rate
        self.channels: int = context.layout.nb_channels
        self.promised = _promised_by_container(self._container, self.rate)
        self._to_float = av.AudioResampler(format="fltp", layout=context.layout, rate=self.rate)

    def blocks(self, first: int, last: int | None) -> Iterator[Samples]:
        return _cut(self._decoded(), first, last)

    def _decoded(self) -> Iterator[Samples]:
        at = 0
        try:
            for frame in self._container.decode(audio=0):
                for plane in self._to_float.resample(frame):
                    at += plane.samples
                    yield plane.to_ndarray().T  # (S, C)
        except self._fault as fault:
            raise broken(self, at) from fault

    def close(self) -> None:
        self._container.close()
