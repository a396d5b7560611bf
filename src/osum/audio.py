"""Audio in: any file, bytes, stream or array to mono float32 at 16 kHz, whole or block by block.

Every source is one `Decoder` that yields blocks at its own rate; one generator checks, mixes and resamples
them, so `load` and `read_blocks` cannot disagree and an hour of audio needs no more memory than a second.
What is damaged without looking so (a wrong scale, channels that cancel, less sound than promised) is an error, or
a note where the samples may still be right. Knows nothing of models.
"""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple

from osum.decoders import (
    CUT_OFF,
    MEDIA_SUFFIXES,
    SOUNDFILE_SUFFIXES,
    ArrayDecoder,
    Decoder,
    broken,
    decoder,
    is_cut_off,
)
from osum.errors import AudioError, InputError

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
MIN_MIXED_POWER = 0.01  # of the channels' power; channels whose mean has less cancel each other
FAINT_POWER = 1e-8  # of full scale (-80 dB); below it channels hold nothing that could cancel
SCALE, CHANNEL = "scale", "channel"
"""Kinds of error, in addition to `CUT_OFF`."""
LOUD_SAMPLE = 2.0  # full scale is 1.0, and codecs overshoot it a little
FAINT_SAMPLE = 2.0**-15  # full scale is 1.0; below one step of 16 bit, such as 16 bit numbers in an int32 array
AUDIO_SUFFIXES = frozenset(SOUNDFILE_SUFFIXES | MEDIA_SUFFIXES)


class Note(NamedTuple):
    """Something suspicious about samples that are read, but may not be what was recorded."""

    kind: str
    """As that of `AudioError`."""
    message: str


Notice = Callable[[Note], None]


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
    """Length, rate and channels of `source`; decodes only where the header has no length.

    Raises:
        AudioError: the source cannot be read, is cut off or is outside the limits.
        MissingExtraError: the container needs PyAV.
    """
    with closing(_open(source)) as reader:
        frames = _num_frames(reader, 0, None, None)
        return AudioInfo(frames / reader.rate, reader.rate, reader.channels, frames)


def duration(
    source: Source,
    *,
    channel: Channel = "mix",
    start: float | None = None,
    end: float | None = None,
    notice: Notice | None = None,
) -> float:
    """Seconds that `load` would give; decodes only where the header has no length.

    Raises as `load` does, as far as the header shows.
    """
    with closing(_open(source)) as reader:
        _channel(reader, channel)
        return _num_frames(reader, *_span(reader, start, end), notice) / reader.rate


def channels(source: Source, which: Channel | Literal["each"] = "each") -> tuple[Channel, ...]:
    """The channels to read one by one: all of them for ``each``, else `which` alone, checked."""
    with closing(_open(source)) as reader:
        return tuple(range(reader.channels)) if which == "each" else (_channel(reader, which),)


def load(
    source: Source,
    *,
    channel: Channel = "mix",
    start: float | None = None,
    end: float | None = None,
    notice: Notice | None = None,
    rate: int = SAMPLE_RATE,
) -> Samples:
    """The samples (S,) of `source` at 16 kHz, float32 with full scale 1.0.

    Args:
        source: a path, bytes, an open binary file, or (array, rate).
        channel: ``mix`` for the mean of all channels, or one channel counted from 0.
        start, end: seconds of the source; the whole of it without them.
        notice: is given what is suspicious: samples far above full scale, fewer samples than the header promises.
            Where nobody takes notice the latter is an error.
        rate: Hz of the samples, where another than 16 kHz is wanted.

    Raises:
        AudioError: the source cannot be read, is outside the limits, holds no or no finite samples, fewer than it
            promises, samples of an integer scale as floats, or channels that cancel each other in the mix.
        MissingExtraError: the container needs PyAV.
    """
    import numpy as np

    return np.concatenate(list(_resampled(source, channel, start, end, notice, rate)))


def read_blocks(
    source: Source,
    *,
    channel: Channel = "mix",
    start: float | None = None,
    end: float | None = None,
    seconds: float = BLOCK_SECONDS,
    notice: Notice | None = None,
) -> Iterator[Samples]:
    """Yield what `load` returns in blocks (S,) of `seconds`, the last one shorter; memory stays flat.

    Raises as `load` does, where the fault is met: earlier blocks have been yielded by then.
    """
    import numpy as np

    size = max(1, round(seconds * SAMPLE_RATE))
    held: list[Samples] = []
    num_held = 0
    for piece in _resampled(source, channel, start, end, notice):
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
    """A link to a missing file. It is kept, so that reading it reports what is missing from a folder."""
    return path.is_symlink() and not path.exists()


def _named_audio(path: Path) -> bool:
    """Hidden files are left out: macOS writes ``._clip.wav`` next to ``clip.wav``."""
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")


def _resampled(
    source: Source,
    channel: Channel,
    start: float | None,
    end: float | None,
    notice: Notice | None,
    rate: int = SAMPLE_RATE,
) -> Iterator[Samples]:
    """Yield blocks (S,) at `rate`: the one way from a source to samples."""
    import numpy as np
    import soxr

    with closing(_open(source)) as reader:
        picked = _channel(reader, channel)
        same = reader.rate == rate
        stream = None if same else soxr.ResampleStream(reader.rate, rate, 1, dtype="float32")
        num_out = 0
        levels = _Levels(reader)
        for block in _bounded(reader, *_span(reader, start, end), levels, notice):
            mono = block.mean(axis=1) if picked == "mix" else block[:, picked]  # (S,)
            if picked == "mix" and reader.channels > 1:
                levels.add_mix(block, mono)
            out = mono if stream is None else stream.resample_chunk(mono)
            num_out += len(out)
            yield out
        if stream is not None:
            out = stream.resample_chunk(np.zeros(0, np.float32), last=True)
            num_out += len(out)
            yield out
        if not num_out:
            raise AudioError(f"{reader.name}: too short, 0 samples at {rate} Hz; give a longer stretch")
        levels.check_mix()
        if notice is not None:
            for note in levels.notes():
                notice(note)


class _Levels:
    """How loud the samples of one source are: a wrong scale or channels that cancel look like any other sound."""

    def __init__(self, reader: Decoder) -> None:
        self._reader = reader
        self._peak = 0.0
        self._num_samples = 0
        self._power = self._mixed_power = 0.0  # sums over samples

    def add(self, block: Samples, at: int) -> None:
        """Measure a block (S, C) that begins at frame `at`.

        Raises:
            AudioError: a sample is no finite number, or is of an integer scale.
        """
        import numpy as np

        peak = max(block.max(initial=0.0), -block.min(initial=0.0))
        if not math.isfinite(peak):  # max and min pass on what is no number
            frame, channel = np.argwhere(~np.isfinite(block))[0]
            bad = f"sample {at + frame} of channel {channel} is {block[frame, channel]}"
            raise AudioError(
                f"{self._reader.name}: {bad}; samples must be finite; write the file again from its source"
            )
        if peak > MAX_FLOAT_SAMPLE:
            raise AudioError(
                f"{self._reader.name}: floats up to {peak:.0f}; full scale is 1.0: pass integers, or divide", SCALE
            )
        self._peak = max(self._peak, float(peak))

    def add_mix(self, block: Samples, mono: Samples) -> None:
        """Add up the power of channels (S, C) and of their mean (S,)."""
        import numpy as np

        self._num_samples += len(mono)
        self._power += float(np.square(block).mean(axis=1).sum(dtype=np.float64))
        self._mixed_power += float(np.square(mono).sum(dtype=np.float64))

    def check_mix(self) -> None:
        """Refuse a mix that holds next to nothing of its channels.

        Raises:
            AudioError: the channels cancel each other.
        """
        faint = self._power < FAINT_POWER * self._num_samples
        if not faint and self._mixed_power < MIN_MIXED_POWER * self._power:
            raise AudioError(
                f"{self._reader.name}: its {self._reader.channels} channels cancel each other in the mix; "
                "read one of them: --channel 0, or channel=0",
                CHANNEL,
            )

    def notes(self) -> Iterator[Note]:
        """What is suspicious and no error."""
        if self._reader.open_end:
            yield Note(CUT_OFF, "ends without the end mark of an ogg, so it may be cut off: compare its length")
        if self._peak > LOUD_SAMPLE:
            scale = f"samples up to {self._peak:.3g} times full scale"
            yield Note(SCALE, f"{scale}: divide them, or write the file again")
        if 0 < self._peak < FAINT_SAMPLE:
            yield Note(SCALE, f"samples up to {self._peak:.1g} of full scale: if they are 16 bit numbers, pass int16")


def _bounded(
    reader: Decoder, first: int, last: int | None, levels: _Levels, notice: Notice | None
) -> Iterator[Samples]:
    """Yield the reader's blocks (S, C), each checked: finite, all there, and never more than the limit."""
    at, limit = first, MAX_DURATION * reader.rate
    for block in reader.blocks(first, last):
        levels.add(block, at)
        at += len(block)
        if at > limit:
            raise _too_long(reader.name, at / reader.rate)
        yield block
    _check_complete(reader, first, last, at)
    if last is None:
        _check_promise(reader, at, notice)


def _check_complete(reader: Decoder, first: int, last: int | None, at: int) -> None:
    """What was read, frames [first, at), must be what the header or the caller promised."""
    if at == first:
        raise AudioError(f"{reader.name}: 0 samples from {first / reader.rate:.2f} s on; give a stretch with sound")
    wanted = reader.frames if last is None else last
    if wanted is None or at >= wanted:
        return
    if reader.frames is not None or is_cut_off(reader, at):
        raise broken(reader, at)
    if wanted - at > END_SLACK * reader.rate:
        raise AudioError(f"{reader.name}: end={wanted / reader.rate:.2f} is outside its {at / reader.rate:.2f} s")


def _check_promise(reader: Decoder, at: int, notice: Notice | None) -> None:
    """A source that ends at frame `at` should hold what its header promises."""
    if not is_cut_off(reader, at):
        return
    if notice is None:
        raise broken(reader, at)
    held, promised = at / reader.rate, (reader.promised or 0) / reader.rate
    notice(Note(CUT_OFF, f"holds {held:.2f} s of the {promised:.2f} s that its header promises: fetch it again"))


def _num_frames(reader: Decoder, first: int, last: int | None, notice: Notice | None) -> int:
    """Frames of [first, last); counted only where the header has no length."""
    if reader.frames is None:
        return sum(len(block) for block in _bounded(reader, first, last, _Levels(reader), notice))
    if last is None:
        _check_promise(reader, reader.frames, notice)
    return (reader.frames if last is None else last) - first


def _too_long(name: str, duration: float) -> AudioError:
    return AudioError(f"{name}: lasts {duration:.0f} s; the limit is {MAX_DURATION:.0f} s; cut it into shorter files")


def _channel(reader: Decoder, channel: Channel) -> Channel:
    if channel == "mix":
        return channel
    if not isinstance(channel, int) or isinstance(channel, bool) or not 0 <= channel < reader.channels:
        raise AudioError(
            f"{reader.name}: no channel {channel!r}; it has {reader.channels}, counted from 0, or 'mix'", CHANNEL
        )
    return channel


def _span(reader: Decoder, start: float | None, end: float | None) -> tuple[int, int | None]:
    """Seconds to frames [first, last); last is None for all there is."""
    if not 0 <= (start or 0.0) < (math.inf if end is None else end):
        raise AudioError(f"{reader.name}: start={start} end={end}; seconds with 0 <= start < end are needed")
    first = round((start or 0.0) * reader.rate)
    last = None if end is None or end == math.inf else round(end * reader.rate)
    if reader.frames is None:
        return first, last
    if reader.frames and (first >= reader.frames or (last or 0) - reader.frames > END_SLACK * reader.rate):
        if is_cut_off(reader, reader.frames):
            raise broken(reader, reader.frames)
        seconds = reader.frames / reader.rate
        raise AudioError(f"{reader.name}: start={start} end={end} is outside its {seconds:.2f} s; stay within")
    return first, None if last is None else min(last, reader.frames)


def _open(source: Source) -> Decoder:
    """Open any source and hold its header against the limits."""
    reader = _dispatch(source)
    try:
        _check_header(reader)
    except AudioError:
        reader.close()
        raise
    return reader


def _check_header(reader: Decoder) -> None:
    if not 1 <= reader.channels <= MAX_CHANNELS:
        raise AudioError(f"{reader.name}: {reader.channels} channels; 1 to {MAX_CHANNELS} are read; mix it down first")
    if not MIN_RATE <= reader.rate <= MAX_RATE:
        raise AudioError(f"{reader.name}: rate is {reader.rate} Hz; {MIN_RATE} to {MAX_RATE} are read; resample first")
    if reader.frames == 0:
        raise AudioError(f"{reader.name}: 0 samples in it; give a recording that holds sound")
    if reader.frames is not None and reader.frames > MAX_DURATION * reader.rate:
        raise _too_long(reader.name, reader.frames / reader.rate)


def _dispatch(source: Source) -> Decoder:
    if isinstance(source, tuple):
        return ArrayDecoder(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _of_bytes(bytes(source), "the given bytes")
    if isinstance(source, (str, os.PathLike)):
        return decoder(_checked(Path(source)), str(source))
    if hasattr(source, "read"):
        return _of_bytes(_drained(source), str(getattr(source, "name", "the given stream")))
    raise AudioError(f"a {type(source).__name__} is no audio source; give a path, bytes, an open file or (array, rate)")


def _checked(path: Path) -> Path:
    """`path` if it is a readable file of a size within the limit."""
    try:
        _check_file(path)
        with path.open("rb"):
            size = path.stat().st_size
    except OSError as fault:  # looking for a path that is too long fails as well
        raise AudioError(f"{path}: cannot be opened ({fault.strerror}); check its permissions") from fault
    _check_size(size, str(path))
    return path


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise AudioError(f"{path}: is a folder; name the files in it")
    if _leads_nowhere(path):
        raise AudioError(f"{path}: is a link to {path.readlink()}, which is not there; fetch it, or remove the link")
    if not path.exists():
        raise AudioError(f"{path}: no such file; check the name, relative to {Path.cwd()}")
    if not path.is_file():
        raise AudioError(f"{path}: is no regular file; pipe it in as bytes")


def _drained(stream: BinaryIO) -> bytes:
    """All bytes of a stream: a decoder must seek, and standard input cannot."""
    content = stream.read(MAX_FILE_BYTES + 1)
    if not isinstance(content, bytes):
        raise AudioError(f"the stream yields {type(content).__name__}; open it in binary mode, 'rb'")
    return content


def _of_bytes(content: bytes, name: str) -> Decoder:
    _check_size(len(content), name)
    return decoder(content, name)


def _check_size(size: int, name: str) -> None:
    if size == 0:
        raise AudioError(f"{name}: is empty, 0 bytes; record or fetch it again")
    if size > MAX_FILE_BYTES:
        raise AudioError(f"{name}: {size} bytes; the limit is {MAX_FILE_BYTES}; cut it into shorter files")
