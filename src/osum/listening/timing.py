"""Timing: answered windows get the times of the words of their text, where those are asked for or a seam needs them.

1. Where word times are asked for, every window is aligned.
2. Windows that share seconds are aligned in any case: which words both detected is certain by their times alone, where
   words repeat. A recording so has one text, whether word times are asked for or not.
3. Windows are aligned together as far as that keeps no complete recording waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from osum.listening.align import Aligner, with_words
from osum.listening.asked import Asked
from osum.listening.feeding import Piece
from osum.listening.recording import Recording
from osum.utterance import Segment


@dataclass(frozen=True, eq=False)
class Answered:
    """A window that is answered."""

    recording: Recording
    piece: Piece
    segment: Segment | None
    """None where the model gave no answer."""


def timed(windows: Iterable[Answered], aligner: Aligner, asked: Asked) -> Iterator[tuple[Recording, Segment | None]]:
    """The segments of windows, with words where `Timing` says so; a recording counts them as they are taken."""
    held: list[Answered] = []
    for window in windows:
        if aligner.able and (asked.timed or window.piece.shares):
            held.append(window)
        else:
            yield window.recording, window.segment
        if len(held) == asked.options.batch_size or (not asked.timed and _keep_waiting(held)):
            yield from _aligned(held, aligner, asked)
            held = []
    yield from _aligned(held, aligner, asked)


def _keep_waiting(held: Sequence[Answered]) -> bool:
    """Whether a recording waits for nothing but windows that are held."""
    each = [window.recording for window in held]
    return any(recording.read and recording.waiting == each.count(recording) for recording in each)


def _aligned(windows: Sequence[Answered], aligner: Aligner, asked: Asked) -> Iterator[tuple[Recording, Segment | None]]:
    own = all(task.transcript != "plain" for task in asked.tasks)
    found = iter(with_words([(each.piece, each.segment) for each in windows if each.segment], aligner, own))
    yield from ((each.recording, next(found) if each.segment else None) for each in windows)
