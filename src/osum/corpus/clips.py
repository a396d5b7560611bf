"""The sound of a manifest row, wherever it is stored: a file, a stretch of one, a tar shard, a packed file.

A row in a tar carries in `extra`: `member` (its name in the tar), `offset` and `num_bytes` (where its bytes
are) and `crc32` (of these bytes). A row in a packed file carries `offset` and `num_samples`. `start`, `end` and
`channel` apply to what is found there. Knows nothing of how shards are written.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from osum import audio
from osum.audio import CHANNEL, SAMPLE_RATE, Channel, Notice
from osum.corpus.packed import Float32, PackedAudio
from osum.decoders import CUT_OFF
from osum.errors import AudioError
from osum.utterance import Segment, Utterance, Word

PLACE_FIELDS = ("member", "offset", "num_bytes", "crc32", "num_samples")
"""Fields of `extra` that say where the audio of a row is stored."""


class ClipAudio:
    """Reads the clips of any manifest, in any order; has the `read` of `PackedAudio`.

    It holds nothing open, so that it can be handed to any number of DataLoader workers. Every method raises

    - AudioError: the audio is missing, damaged or empty, or the shard is cut off or not that of its index;
    - MissingExtraError: the container needs PyAV.
    """

    def read(self, utterance: Utterance, notice: Notice | None = None, rate: int = SAMPLE_RATE) -> Float32:
        """The row's waveform (S,) at 16 kHz or another rate, full scale 1.0, cut to its `start` and `end`.

        `notice` is as for `osum.audio.load`.
        """
        source = self.source(utterance)
        try:
            return audio.load(source, **_stretch(utterance), notice=notice, rate=rate)
        except AudioError as fault:
            raise _named(utterance, fault) from fault

    def blocks(self, utterance: Utterance, notice: Notice | None = None) -> Iterator[Float32]:
        """What `read` gives, in blocks (S,), in flat memory where the row is a file."""
        source = self.source(utterance)
        try:
            yield from audio.read_blocks(source, **_stretch(utterance), notice=notice)
        except AudioError as fault:
            raise _named(utterance, fault) from fault

    def duration(self, utterance: Utterance, notice: Notice | None = None) -> float:
        """Seconds that `read` would give; decodes only where the header does not say."""
        source = self.source(utterance)
        try:
            return audio.duration(source, **_stretch(utterance), notice=notice)
        except AudioError as fault:
            raise _named(utterance, fault) from fault

    def channels(self, utterance: Utterance) -> tuple[Channel, ...]:
        """Every channel of the row's source, counted from 0."""
        source = self.source(utterance)
        try:
            return audio.channels(source)
        except AudioError as fault:
            raise _named(utterance, fault) from fault

    def source(self, utterance: Utterance) -> audio.Source:
        """The path of a row's own file, its checked bytes in a tar, or its samples in a packed file."""
        place = utterance.extra
        if is_packed(utterance):
            return PackedAudio(utterance.path).read_int16(utterance), SAMPLE_RATE
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
            message = f"shard {utterance.path}: is cut off after {size} bytes: fetch it or make it again"
            raise AudioError(message, CUT_OFF)
        if "crc32" in place and zlib.crc32(content) != place["crc32"]:
            raise AudioError(f"shard {utterance.path}: is not what its index describes: fetch or make both again")
        return content


def _stretch(utterance: Utterance) -> dict[str, Any]:
    """The row's channel and stretch, as `osum.audio` takes them."""
    return {"channel": _channel(utterance), "start": utterance.start, "end": utterance.end}


def is_packed(utterance: Utterance) -> bool:
    """Whether a row's samples are stored in a packed file."""
    return "num_samples" in utterance.extra and "num_bytes" not in utterance.extra


def address(utterance: Utterance) -> Utterance:
    """The row with nothing but what finds its sound: small, and safe to send to another process."""
    place = {name: value for name, value in utterance.extra.items() if name in PLACE_FIELDS}
    row = utterance
    return Utterance(row.id, row.path, row.channel, row.start, row.end, extra=place)


def without_place(utterance: Utterance) -> Utterance:
    """The row without the fields of `extra` that say where its audio is stored."""
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
        raise AudioError(
            f"{utterance.path}: channel {channel!r}; write a number from 0, or leave it out for the mix", CHANNEL
        )
    return channel


def _named(utterance: Utterance, fault: AudioError) -> AudioError:
    """A decoder knows the bytes of a tar and the samples of a packed file by no name."""
    if "num_bytes" in utterance.extra:
        return AudioError(f"shard {utterance.path}: {utterance.extra.get('member')}: {fault}", fault.kind)
    if is_packed(utterance):
        return AudioError(f"{utterance.path}: {utterance.id}: {fault}", fault.kind)
    return fault
