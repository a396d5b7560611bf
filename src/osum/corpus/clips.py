"""The waveform of a manifest row, wherever it lies: a file, a stretch of one, a tar shard, a packed file.

A row in a tar carries in `extra`: `member` (its name in the tar), `offset` and `num_bytes` (where its bytes
are) and `crc32` (of these bytes). Knows nothing of how shards are written.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

from osum.audio import SAMPLE_RATE, Channel, load, probe
from osum.corpus.packed import Float32, PackedAudio
from osum.errors import AudioError
from osum.utterance import Segment, Utterance, Word

PLACE_FIELDS = ("member", "offset", "num_bytes", "crc32", "num_samples")
"""Fields of `extra` that say where the audio of a row lies."""


class ClipAudio:
    """Reads the clips of any manifest, in any order; has the `read` of `PackedAudio`.

    It holds nothing open, so that it can be handed to any number of DataLoader workers.
    """

    def read(self, utterance: Utterance) -> Float32:
        """The row's waveform (S,) at 16 kHz, float32 with full scale 1.0, cut to its `start` and `end`.

        Raises:
            AudioError: the audio is missing, damaged or empty, or the shard is cut off or not that of its index.
            MissingExtraError: the container needs PyAV.
        """
        if is_packed(utterance):
            return PackedAudio(utterance.path).read(utterance)
        source = self.source(utterance)
        try:
            return load(source, channel=_channel(utterance), start=utterance.start, end=utterance.end)
        except AudioError as fault:
            raise _named(utterance, source, fault) from fault

    def duration(self, utterance: Utterance) -> float:
        """Seconds that `read` would give; decodes only where the header does not tell.

        Raises:
            AudioError, MissingExtraError: as `read` does, as far as the header shows.
        """
        if is_packed(utterance):
            return len(PackedAudio(utterance.path).read_int16(utterance)) / SAMPLE_RATE
        source = self.source(utterance)
        try:
            whole = probe(source).duration
        except AudioError as fault:
            raise _named(utterance, source, fault) from fault
        start, end = utterance.start or 0.0, whole if utterance.end is None else min(utterance.end, whole)
        if not 0 <= start < end:
            raise AudioError(f"{utterance.path}: start={start:g} end={end:g} of {whole:.2f} s; give 0 <= start < end")
        return end - start

    def source(self, utterance: Utterance) -> Path | bytes:
        """The path of a row's own file, or its checked bytes in a tar.

        Raises:
            AudioError: the tar is missing, cut off, or not that of its index.
        """
        place = utterance.extra
        if "num_bytes" not in place:
            return Path(utterance.path)
        try:
            with Path(utterance.path).open("rb") as shard:
                shard.seek(place["offset"])
                content = shard.read(place["num_bytes"])
        except (OSError, KeyError, TypeError, ValueError) as fault:
            raise AudioError(f"shard {utterance.path}: cannot be read ({fault!r}): make it again") from fault
        # No clip is named, so that a thousand clips of one broken shard give one message.
        if len(content) < place["num_bytes"]:
            size = Path(utterance.path).stat().st_size
            raise AudioError(f"shard {utterance.path}: is cut off after {size} bytes: fetch it or make it again")
        if "crc32" in place and zlib.crc32(content) != place["crc32"]:
            raise AudioError(f"shard {utterance.path}: is not what its index describes: fetch or make both again")
        return content


def is_packed(utterance: Utterance) -> bool:
    """Whether a row's samples lie in a packed file."""
    return "num_samples" in utterance.extra and "num_bytes" not in utterance.extra


def without_place(utterance: Utterance) -> Utterance:
    """The row without the fields of `extra` that say where its audio lies."""
    return utterance.with_(extra={name: value for name, value in utterance.extra.items() if name not in PLACE_FIELDS})


def as_clip(utterance: Utterance, num_samples: int) -> Utterance:
    """The row of the waveform (S,) itself: no stretch and no channel any more, times from its beginning (s)."""
    begin = utterance.start or 0.0

    def moved(words: tuple[Word, ...]) -> tuple[Word, ...]:
        return tuple(replace(word, start=_less(word.start, begin), end=_less(word.end, begin)) for word in words)

    def segment(item: Segment) -> Segment:
        return replace(item, start=_less(item.start, begin), end=_less(item.end, begin), words=moved(item.words))

    return utterance.with_(
        start=None,
        end=None,
        channel=None,
        duration=round(num_samples / SAMPLE_RATE, 4),
        words=moved(utterance.words),
        segments=tuple(map(segment, utterance.segments)),
    )


def _less(time: float, begin: float) -> float:
    return max(0.0, round(time - begin, 6)) if begin else time


def _channel(utterance: Utterance) -> Channel:
    channel = utterance.channel
    if channel is None or channel == "mix":
        return "mix"
    if not isinstance(channel, int):
        raise AudioError(f"{utterance.path}: channel {channel!r}; write a number from 0, or leave it out for the mix")
    return channel


def _named(utterance: Utterance, source: Path | bytes, fault: AudioError) -> AudioError:
    """A decoder knows the bytes of a tar by no name."""
    if isinstance(source, Path):
        return fault
    return AudioError(f"shard {utterance.path}: {utterance.extra.get('member')}: {fault}")
