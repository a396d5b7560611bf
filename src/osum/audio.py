"""Audio in: any file, bytes, stream or array to mono float32 at 16 kHz, whole or block by block.

Every source is one `_Reader` that yields blocks at its own rate; one generator checks, mixes and resamples
them, so `load` and `read_blocks` cannot disagree and an hour of audio needs no more memory than a second.
Knows nothing of models: how short or long a clip may be for one is the model's to say.
"""

from __future__ import annotations

import glob
import io
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

from osum.errors import AudioError, InputError, MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | tuple[Any, int]
"""A path, the bytes of a file, an open binary file, or (array (S,) or (S, C), rate in Hz)."""
Channel = Literal["mix"] | int
"""The mean of all channels, or one of them counted from 0."""

SAMPLE_RATE = 16_000  # Hz, the rate of all audio inside osum
MAX_FILE_BYTES = 4 * 2**30  # bytes, what a wav header can count
MAX_DURATION = 24 * 3600.0  # seconds
MAX_CHANNELS = 64
MIN_RATE, MAX_RATE = 1_000, 768_000  # Hz
MAX_FLOAT_SAMPLE = 256.0  # full scale is 1.0; a peak beyond this is an integer scale in a float array
BLOCK_SECONDS = 10.0  # seconds of one block from read_blocks
END_SLACK = 0.1  # seconds that a given end may lie behind the last sample, since manifests round
_DECODE_FRAMES = 2**14  # frames decoded at a time, and how closely a break in a file is located

_SOUNDFILE_SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf"}
_MEDIA_SUFFIXES = {".m4a", ".m4b", ".mp4", ".mov", ".aac", ".webm", ".mka", ".mkv", ".wma", ".3gp", ".amr"}
"""Containers that need PyAV, the extra `media`."""
AUDIO_SUFFIXES = frozenset(_SOUNDFILE_SUFFIXES | _MEDIA_SUFFIXES)
_MEDIA_MAGIC = ((4, b"ftyp"), (0, b"\x1aE\xdf\xa3"), (0, b"0&\xb2u"), (0, b"\xff\xf1"), (0, b"\xff\xf9"), (0, b"#!AMR"))
"""Where and how mp4, matroska/webm, wma, aac (two) and amr files begin, for bytes that have no suffix."""
_MISLEADING = "File does not exist or is not a regular file (possibly a pipe?)"
"""What libsndfile says of a file that is there and that its mp3 decoder finds nothing in."""
_READS = "osum reads wav, flac, ogg, opus, mp3 and, with the extra 'media', m4a, mp4 and webm"


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a source holds, before any mixing or resampling."""

    duration: float
    """Seconds."""
    rate: int
    """Hz."""
    channels: int
    frames: int
    """Samples of one channel."""


def probe(source: Source) -> AudioInfo:
    """Length, rate and channels of `source`; decodes only where the header does not tell the length.

    Raises:
        AudioError: the source cannot be read or is outside the limits.
        MissingExtraError: the container needs PyAV.
    """
    with closing(_open(source)) as reader:
        frames = reader.frames or sum(len(block) for block in _bounded(reader, 0, None))
        return AudioInfo(frames / reader.rate, reader.rate, reader.channels, frames)


def channels(source: Source, which: Channel | Literal["each"] = "each") -> tuple[Channel, ...]:
    """The channels to read one by one: all of them for ``each``, else `which` alone, checked."""
    with closing(_open(source)) as reader:
        return tuple(range(reader.channels)) if which == "each" else (_channel(reader, which),)


def load(source: Source, *, channel: Channel = "mix", start: float | None = None, end: float | None = None) -> Samples:
    """The samples (S,) of `source` at 16 kHz, float32 with full scale 1.0.

    Args:
        source: a path, bytes, an open binary file, or (array, rate).
        channel: ``mix`` for the mean of all channels, or one channel counted from 0.
        start, end: seconds of the source; the whole of it without them.

    Raises:
        AudioError: the source cannot be read, is outside the limits, or holds no or no finite samples.
        MissingExtraError: the container needs PyAV.
    """
    import numpy as np

    return np.concatenate(list(_resampled(source, channel, start, end)))


def read_blocks(
    source: Source,
    *,
    channel: Channel = "mix",
    start: float | None = None,
    end: float | None = None,
    seconds: float = BLOCK_SECONDS,
) -> Iterator[Samples]:
    """Yield what `load` returns in blocks (S,) of `seconds`, the last one shorter; memory stays flat.

    Raises as `load` does, where the fault is met: earlier blocks have been yielded by then.
    """
    import numpy as np

    size = max(1, round(seconds * SAMPLE_RATE))
    held: list[Samples] = []
    num_held = 0
    for piece in _resampled(source, channel, start, end):
        held.append(piece)
        num_held += len(piece)
        if num_held >= size:
            joined = np.concatenate(held)
            whole = num_held - num_held % size
            yield from np.split(joined[:whole], whole // size)
            held, num_held = [joined[whole:]], num_held - whole
    if num_held:
        yield np.concatenate(held)


def find_audio(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Expand files, folders (recursively, sorted) and globs to audio files; order kept, no duplicates.

    A named file is taken whatever it is called or whether it exists: reading it gives its own error, so that
    one bad file does not stop a batch.

    Raises:
        InputError: a folder or a glob holds no audio.
    """
    found: dict[str, Path] = {}
    for given in paths:
        for path in _expand(given):
            found.setdefault(os.path.abspath(path), path)  # noqa: PTH100  (resolve would merge distinct links)
    return list(found.values())


def _expand(given: str | os.PathLike[str]) -> list[Path]:
    path = Path(given)
    is_glob = glob.has_magic(str(path)) and not path.exists()
    if not is_glob and not path.is_dir():
        return [path]
    roots = sorted(map(Path, glob.glob(str(path), recursive=True))) if is_glob else [path]  # noqa: PTH207
    found = [item for root in roots for item in _walk(root)]
    if not found:
        raise InputError(f"{given}: no audio in it; name a file, folder or glob of {' '.join(sorted(AUDIO_SUFFIXES))}")
    return found


def _walk(root: Path) -> list[Path]:
    candidates = root.rglob("*") if root.is_dir() else [root]
    return sorted(path for path in candidates if _named_audio(path) and (path.is_file() or _leads_nowhere(path)))


def _leads_nowhere(path: Path) -> bool:
    """A link to what is gone. It is taken along, so that reading it tells what is missing from a folder."""
    return path.is_symlink() and not path.exists()


def _named_audio(path: Path) -> bool:
    """Hidden files are left out: macOS writes ``._clip.wav`` beside ``clip.wav``."""
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")


class _Reader(Protocol):
    """One opened source."""

    name: str
    rate: int
    channels: int
    frames: int | None
    """None where the header does not tell."""

    def blocks(self, first: int, last: int | None) -> Iterator[Samples]:
        """Yield frames [first, last) as blocks (S, C)."""

    def close(self) -> None: ...


def _resampled(source: Source, channel: Channel, start: float | None, end: float | None) -> Iterator[Samples]:
    """Yield blocks (S,) at SAMPLE_RATE: the one way from a source to samples."""
    import numpy as np
    import soxr

    with closing(_open(source)) as reader:
        picked = _channel(reader, channel)
        same = reader.rate == SAMPLE_RATE
        stream = None if same else soxr.ResampleStream(reader.rate, SAMPLE_RATE, 1, dtype="float32")
        num_out = 0
        for block in _bounded(reader, *_span(reader, start, end)):
            mono = block.mean(axis=1) if picked == "mix" else block[:, picked]  # (S,)
            out = mono if stream is None else stream.resample_chunk(mono)
            num_out += len(out)
            yield out
        if stream is not None:
            out = stream.resample_chunk(np.zeros(0, np.float32), last=True)
            num_out += len(out)
            yield out
        if not num_out:
            raise AudioError(f"{reader.name}: too short, 0 samples at {SAMPLE_RATE} Hz; give a longer stretch")


def _bounded(reader: _Reader, first: int, last: int | None) -> Iterator[Samples]:
    """Yield the reader's blocks (S, C), each checked: finite, all there, and never more than the limit."""
    import numpy as np

    at, limit = first, MAX_DURATION * reader.rate
    for block in reader.blocks(first, last):
        if not np.isfinite(block).all():
            frame, channel = np.argwhere(~np.isfinite(block))[0]
            bad = f"sample {at + frame} of channel {channel} is {block[frame, channel]}"
            raise AudioError(f"{reader.name}: {bad}; samples must be finite; write the file again from its source")
        at += len(block)
        if at > limit:
            raise _too_long(reader.name, at / reader.rate)
        yield block
    _check_complete(reader, first, last, at)


def _check_complete(reader: _Reader, first: int, last: int | None, at: int) -> None:
    """What was read, frames [first, at), must be what the header or the caller promised."""
    if at == first:
        raise AudioError(f"{reader.name}: 0 samples from {first / reader.rate:.2f} s on; give a stretch with sound")
    wanted = reader.frames if last is None else last
    if wanted is None or at >= wanted:
        return
    if reader.frames is not None:
        raise _broken(reader, at)
    if wanted - at > END_SLACK * reader.rate:
        raise AudioError(f"{reader.name}: end={wanted / reader.rate:.2f} lies outside its {at / reader.rate:.2f} s")


def _broken(reader: _Reader, at: int) -> AudioError:
    total = "" if reader.frames is None else f" of {reader.frames}"
    good = math.floor(at / reader.rate * 10) / 10  # seconds
    rescue = f", or take the good part with end={good}" if good else ""
    return AudioError(
        f"{reader.name}: broken after frame {at}{total}; the file is damaged or cut off; fetch it again{rescue}"
    )


def _too_long(name: str, duration: float) -> AudioError:
    return AudioError(f"{name}: lasts {duration:.0f} s; the limit is {MAX_DURATION:.0f} s; cut it into shorter files")


def _channel(reader: _Reader, channel: Channel) -> Channel:
    if channel == "mix":
        return channel
    if not isinstance(channel, int) or isinstance(channel, bool) or not 0 <= channel < reader.channels:
        raise AudioError(f"{reader.name}: no channel {channel!r}; it has {reader.channels}, counted from 0, or 'mix'")
    return channel


def _span(reader: _Reader, start: float | None, end: float | None) -> tuple[int, int | None]:
    """Seconds to frames [first, last); last is None for all there is."""
    first = 0.0 if start is None else start
    last = math.inf if end is None else end
    if not 0 <= first < last:
        raise AudioError(f"{reader.name}: start={start} end={end}; seconds with 0 <= start < end are needed")
    if reader.frames is not None:
        duration = reader.frames / reader.rate
        if reader.frames and (first >= duration or (end is not None and end > duration + END_SLACK)):
            raise AudioError(f"{reader.name}: start={start} end={end} lies outside its {duration:.2f} s; stay within")
        last = min(last, duration)
    return round(first * reader.rate), None if last == math.inf else round(last * reader.rate)


def _open(source: Source) -> _Reader:
    """Open any source and hold its header against the limits."""
    reader = _dispatch(source)
    try:
        _check_header(reader)
    except AudioError:
        reader.close()
        raise
    return reader


def _check_header(reader: _Reader) -> None:
    if not 1 <= reader.channels <= MAX_CHANNELS:
        raise AudioError(f"{reader.name}: {reader.channels} channels; 1 to {MAX_CHANNELS} are read; mix it down first")
    if not MIN_RATE <= reader.rate <= MAX_RATE:
        raise AudioError(f"{reader.name}: rate is {reader.rate} Hz; {MIN_RATE} to {MAX_RATE} are read; resample first")
    if reader.frames == 0:
        raise AudioError(f"{reader.name}: 0 samples in it; give a recording that holds sound")
    if reader.frames is not None and reader.frames > MAX_DURATION * reader.rate:
        raise _too_long(reader.name, reader.frames / reader.rate)


def _dispatch(source: Source) -> _Reader:
    if isinstance(source, tuple):
        return _ArrayReader(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decoder(bytes(source), "the given bytes")
    if isinstance(source, (str, os.PathLike)):
        return _decoder(_checked(Path(source)), str(source))
    if hasattr(source, "read"):
        return _decoder(_drained(source), str(getattr(source, "name", "the given stream")))
    raise AudioError(f"a {type(source).__name__} is no audio source; give a path, bytes, an open file or (array, rate)")


def _checked(path: Path) -> Path:
    """`path` if it is a readable file of a size within the limit."""
    if path.is_dir():
        raise AudioError(f"{path}: is a folder; name the files in it")
    if _leads_nowhere(path):
        raise AudioError(f"{path}: is a link to {path.readlink()}, which is not there; fetch it, or remove the link")
    if not path.exists():
        raise AudioError(f"{path}: no such file; check the name, relative to {Path.cwd()}")
    if not path.is_file():
        raise AudioError(f"{path}: is no regular file; pipe it in as bytes")
    try:
        with path.open("rb"):
            size = path.stat().st_size
    except OSError as fault:
        raise AudioError(f"{path}: cannot be opened ({fault.strerror}); check its permissions") from fault
    _check_size(size, str(path))
    return path


def _drained(stream: BinaryIO) -> bytes:
    """All bytes of a stream: a decoder must seek, and standard input cannot."""
    content = stream.read(MAX_FILE_BYTES + 1)
    if not isinstance(content, bytes):
        raise AudioError(f"the stream yields {type(content).__name__}; open it in binary mode, 'rb'")
    return content


def _check_size(size: int, name: str) -> None:
    if size == 0:
        raise AudioError(f"{name}: is empty, 0 bytes; record or fetch it again")
    if size > MAX_FILE_BYTES:
        raise AudioError(f"{name}: {size} bytes; the limit is {MAX_FILE_BYTES}; cut it into shorter files")


def _decoder(content: Path | bytes, name: str) -> _Reader:
    """A reader by soundfile, else by PyAV for a media container, else an error."""
    import soundfile

    if isinstance(content, bytes):
        _check_size(len(content), name)
    try:
        return _SoundFileReader(
            soundfile.SoundFile(content if isinstance(content, Path) else io.BytesIO(content)), name
        )
    except (soundfile.LibsndfileError, TypeError) as fault:  # TypeError: a headerless .raw
        if _looks_like_media(content, name):
            return _MediaReader(content, name)
        reason = getattr(fault, "error_string", str(fault)).rstrip(".").replace(_MISLEADING, "No frame in it")
        raise AudioError(f"{name}: is no audio that can be decoded ({reason}); {_READS}") from fault


def _looks_like_media(content: Path | bytes, name: str) -> bool:
    if isinstance(content, Path):
        with content.open("rb") as file:
            head = file.read(16)
    else:
        head = content[:16]
    return Path(name).suffix.lower() in _MEDIA_SUFFIXES or any(
        head[at:].startswith(magic) for at, magic in _MEDIA_MAGIC
    )


class _ArrayReader:
    """(array (S,) or (S, C), rate): integers are scaled to full scale 1.0."""

    def __init__(self, source: tuple[Any, int]) -> None:
        import numpy as np

        self.name = "the given array"
        if len(source) != 2 or np.ndim(source[1]) != 0 or np.ndim(source[0]) == 0:
            kinds = ", ".join(type(item).__name__ for item in source)
            raise AudioError(f"an audio tuple of ({kinds}); give (array, rate in Hz), in this order")
        samples, rate = np.asarray(source[0]), source[1]
        if int(rate) != rate:
            raise AudioError(f"{self.name}: rate is {rate!r}; a whole number of Hz is needed")
        self._samples = self._scaled(self._shaped(samples))
        self.rate = int(rate)
        self.frames: int | None
        self.frames, self.channels = self._samples.shape

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
        peak = float(np.max(np.abs(samples), initial=0.0, where=np.isfinite(samples)))
        if peak > MAX_FLOAT_SAMPLE:
            raise AudioError(f"{self.name}: floats up to {peak:.0f}; full scale is 1.0: pass integers, or divide")
        return samples.astype(np.float32, copy=False)

    def blocks(self, first: int, last: int | None) -> Iterator[Samples]:
        for at in range(first, len(self._samples) if last is None else last, _DECODE_FRAMES):
            yield self._samples[at : min(at + _DECODE_FRAMES, last or len(self._samples))]

    def close(self) -> None:
        """Nothing is held open."""


class _SoundFileReader:
    """wav, flac, ogg, opus, mp3 and their kin through libsndfile."""

    def __init__(self, file: Any, name: str) -> None:
        self._file = file
        self.name = name
        self.rate: int = file.samplerate
        self.channels: int = file.channels
        self.frames: int | None = file.frames
        if file.frames > 2**62 or file.format == "MP3":
            # A flac from a pipe does not know its length, an mp3 without index only guesses it.
            # Not seekable: else soundfile stops at the guess, and seeks after the last read, where libsndfile fails.
            self.frames, file.seekable = None, lambda: False

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
            raise _broken(self, at) from fault

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


class _MediaReader:
    """m4a, mp4, webm and their kin through PyAV, which brings FFmpeg with it."""

    frames: int | None = None

    def __init__(self, content: Path | bytes, name: str) -> None:
        try:
            import av
        except ImportError:
            raise MissingExtraError(f"{name}: PyAV, which reads this container,", "media") from None
        self.name = name
        self._fault = av.FFmpegError
        try:
            given = str(content) if isinstance(content, Path) else io.BytesIO(content)
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
            raise _broken(self, at) from fault

    def close(self) -> None:
        self._container.close()
