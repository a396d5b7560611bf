"""What a caller may hand over as sound, and what `osum.audio` and manifest rows make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from osum import audio as audio_io
from osum.audio import SAMPLE_RATE
from osum.corpus.clips import ClipAudio, address
from osum.errors import AudioError, OsumError
from osum.utterance import Utterance

Audio = str | PathLike[str] | bytes | NDArray[np.float32] | Tensor | tuple[Any, int] | Mapping[str, Any] | Utterance
"""A path, the bytes of a file, floats (S,) at 16 kHz, (array or tensor (S,) or (S, C), rate in Hz), a value of an
`Audio` column of Hugging Face datasets, or a manifest row. An open binary file is taken too."""


def is_stream(audio: object) -> TypeGuard[Iterator[Audio]]:
    """Whether it is many clips, one after the other; an open file is one clip, though it iterates."""
    return isinstance(audio, Iterator) and not hasattr(audio, "read")


def item_of(audio: Audio, index: int) -> Utterance:
    """The row that a result fills; the clip with that index in its call has no other name where it has no path."""
    if isinstance(audio, Utterance):
        return audio
    given = audio.get("path") if isinstance(audio, Mapping) else audio
    path = str(given) if isinstance(given, (str, PathLike)) and str(given) else f"clip-{index}"
    return Utterance(id=Path(path).stem, path=path)


def sound_of(audio: Audio) -> Any:
    """What `osum.audio` reads, or a manifest row.

    Raises:
        AudioError: an array that does not say what it holds.
    """
    if isinstance(audio, Utterance):
        return address(audio)
    if isinstance(audio, Mapping):
        return _of_mapping(audio)
    if isinstance(audio, tuple):
        return tuple(_plain(part) for part in audio)
    if not isinstance(audio, (np.ndarray, Tensor)):
        return audio
    samples = _plain(audio)
    if samples.ndim != 1 or samples.dtype.kind != "f":
        raise AudioError(
            f"an array of shape {samples.shape} and dtype {samples.dtype} without a rate: only floats (samples,) at "
            f"{SAMPLE_RATE} Hz need none; give (array, rate)"
        )
    return samples, SAMPLE_RATE


def sound_or_fault(audio: Audio) -> Any:
    """As `sound_of`, with the error in its place, so that one bad clip ends nothing but itself."""
    try:
        return sound_of(audio)
    except OsumError as fault:
        return fault


def load(audio: Audio) -> NDArray[np.float32]:
    """The samples (S,) of a clip at 16 kHz.

    Raises:
        AudioError: it cannot be read.
    """
    sound = sound_of(audio)
    return ClipAudio().read(sound) if isinstance(sound, Utterance) else audio_io.load(sound)


def _of_mapping(audio: Mapping[str, Any]) -> Any:
    """The value of a column `Audio` of Hugging Face datasets: decoded, the bytes of a file, or its path."""
    if audio.get("array") is not None and audio.get("sampling_rate") is not None:
        try:
            return _plain(np.asarray(_plain(audio["array"]))), audio["sampling_rate"]
        except (TypeError, ValueError) as fault:
            raise AudioError(f"'array' holds a {type(audio['array']).__name__} that is no array of numbers") from fault
    for name in ("bytes", "path"):
        if audio.get(name) is not None:
            return audio[name]
    raise AudioError(
        f"a mapping of {', '.join(map(repr, audio)) or 'nothing'}: give 'array' with 'sampling_rate', 'bytes' or 'path'"
    )


def _plain(value: Any) -> Any:
    """A tensor of any device and type as an array; bfloat16, which numpy lacks, as float32."""
    if not isinstance(value, Tensor):
        return value
    held = value.detach().cpu()
    return (held.float() if held.dtype == torch.bfloat16 else held).numpy()
