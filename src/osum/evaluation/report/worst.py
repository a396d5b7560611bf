"""The worst errors of each model on each test set, and short copies of their clips.

Wrong labels count as worse the surer the model was, texts by how many units are wrong, word times by how far off.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from itertools import zip_longest

from osum.audio import SAMPLE_RATE
from osum.corpus.clips import ClipAudio
from osum.errors import OsumError
from osum.evaluation.run.prediction import Prediction
from osum.evaluation.sets.benchmark import Target
from osum.scoring import aas, mer
from osum.utterance import Utterance, Word

CLIP_SECONDS = 15.0
"""Longer clips are cut: nano takes no more at once, and a page is to stay small."""
_COMPRESSION = 0.8  # of libsndfile's MP3: about 3 kB per second of speech


@dataclass(frozen=True, slots=True)
class Mistake:
    """One wrong answer."""

    prediction: Prediction
    reference: str
    answer: str
    probability: float | None
    """Of the label that was named."""
    measure: str
    """How wrong it is: `5 of 6 units wrong`."""
    badness: float


def worst(predictions: Iterable[Prediction], target: Target, limit: int) -> list[Mistake]:
    """The worst mistakes first, in the fixed prompt; clips without an answer are no mistakes of a kind to listen to."""
    asked = (one for one in predictions if not one.prompt_index and one.answer.error is None)
    found = (mistake for one in asked if (mistake := _READERS[target](one)) is not None)
    return nsmallest(limit, found, key=lambda mistake: (-mistake.badness, mistake.prediction.id))


def _label(one: Prediction) -> Mistake | None:
    named = one.answer.said if one.answer.label is None else one.answer.label
    if named == one.truth.label:
        return None
    sure = (one.answer.distribution or {}).get(named or "")
    answer = named or f"no label: {one.answer.raw}"
    return Mistake(one, one.truth.label or "", answer, sure, "wrong label", 0.0 if sure is None else sure)


def _text(one: Prediction) -> Mistake | None:
    return _differing(one, one.truth.text or "", one.answer.text or "")


def _reply(one: Prediction) -> Mistake | None:
    return _differing(one, one.truth.reply or "", one.answer.reply or "")


def _differing(one: Prediction, reference: str, answer: str) -> Mistake | None:
    substitutions, deletions, insertions, units = mer.counts([reference], [answer]).rows[0]
    wrong = substitutions + deletions + insertions
    return Mistake(one, reference, answer, None, f"{wrong:.0f} wrong of {units:.0f}", float(wrong)) if wrong else None


def _words(one: Prediction) -> Mistake | None:
    starts, ends, matched, units = aas.counts([one.truth.words], [one.answer.words]).rows[0]
    shift = (starts + ends) / (2 * matched) if matched else math.inf
    if not shift:
        return None
    summary = f"{shift:.0f} ms off, {matched:.0f} of {units:.0f} matched" if matched else f"none of {units:.0f} matched"
    return Mistake(one, _timed(one.truth.words), _timed(one.answer.words), None, summary, float(shift))


def _timed(words: Iterable[Word]) -> str:
    return " ".join(f"{word.text} {word.start:.2f}" for word in words)


_READERS: Mapping[Target, Callable[[Prediction], Mistake | None]] = {
    "label": _label,
    "text": _text,
    "words": _words,
    "reply": _reply,
}


# Clips


def clips(mistakes: Mapping[tuple[str, str], Iterable[Mistake]], limit: int) -> dict[str, bytes]:
    """Short copies (MP3, mono) of the clips by `key`, the worst of every model and test set first, until `limit` bytes.

    A clip that cannot be read is left out: a page without a player is better than none.
    """
    found: dict[str, bytes] = {}
    size = 0
    for rank in zip_longest(*mistakes.values()):
        for mistake in filter(None, rank):
            name = key(mistake.prediction)
            if (
                name not in found
                and (sound := short_copy(_beginning(mistake.prediction)))
                and size + len(sound) <= limit
            ):
                found[name] = sound
            size += len(found.get(name, b""))  # a clip stands in the page as often as it is a mistake
    return found


def key(one: Prediction) -> str:
    """What a clip is known by: its place on the disk."""
    return f"{one.path}#{one.extra.get('offset')},{one.start},{one.end}"


def _beginning(one: Prediction) -> Utterance:
    """The clip, of which no more than is shown is decoded."""
    last = (one.start or 0.0) + CLIP_SECONDS
    end = one.end if one.duration is not None and one.duration <= CLIP_SECONDS else min(one.end or last, last)
    return one.as_utterance().with_(end=end)


def short_copy(clip: Utterance) -> bytes | None:
    """The clip's first `CLIP_SECONDS` as MP3, mono; None where it cannot be read."""
    import soundfile

    out = io.BytesIO()
    try:
        samples = ClipAudio().read(clip)[: round(CLIP_SECONDS * SAMPLE_RATE)]  # (S,)
        # Unlike Ogg, MP3 plays in every browser.
        soundfile.write(out, samples, SAMPLE_RATE, format="MP3", compression_level=_COMPRESSION)
    except (OsumError, soundfile.LibsndfileError):
        return None
    return out.getvalue()
