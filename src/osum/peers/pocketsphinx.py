"""PocketSphinx: English words and their times from a hidden Markov model that comes with its package.

Two recognisers: one that transcribes, and one that is given the text and returns only the times.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from osum.audio import SAMPLE_RATE
from osum.corpus.packed import to_int16
from osum.errors import InputError, MissingExtraError, TaskError
from osum.listening.longform import Window, windows
from osum.listening.merge import in_sequence
from osum.peers.clips import LoadedClip, Samples, in_batches
from osum.peers.facts import check_no_prompt, check_on_cpu, check_question, versions
from osum.peers.recogniser import Options, Question, Recognition
from osum.text import join_units
from osum.utterance import Segment, Utterance, Word

LANGUAGE = "en"
WINDOW = 30 * SAMPLE_RATE
"""Samples that are searched at once; longer clips are cut where nobody speaks."""
UNDERLAID = (0.0, 1e-3, 3e-3)
"""Deviations of the noise laid under a clip, one after the other, until its known words are found: the model knows
no digital silence, which synthetic speech is full of."""
_VARIANT = re.compile(r"\(\d+\)$")
_SPOKEN = re.compile(r"[a-z'.-]+")
_WORDS = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")


class Sphinx:
    """The decoder with its own acoustic model, language model and dictionary.

    Raises:
        MissingExtraError: the package is not installed.
    """

    def __init__(self) -> None:
        try:
            import pocketsphinx
        except ImportError as fault:
            raise MissingExtraError("pocketsphinx", "peers") from fault
        self._decoder: Any = pocketsphinx.Decoder(loglevel="FATAL", samprate=SAMPLE_RATE)
        self._frame_rate = self._decoder.config["frate"]  # frames per second

    def transcribe(self, samples: Samples) -> tuple[str, tuple[Word, ...]]:
        """Text and words of a clip (S,) of any length; times in seconds of the clip."""
        segments = []
        for piece in windows([samples], WINDOW):
            if isinstance(piece, Window):
                begin, end = piece.start / SAMPLE_RATE, piece.end / SAMPLE_RATE
                words = tuple(self._words(piece.samples, begin))
                segments.append(Segment(begin, end, join_units(word.text for word in words), words))
        merged = in_sequence(segments)
        return join_units(segment.text for segment in merged), tuple(w for segment in merged for w in segment.words)

    def align(self, samples: Samples, text: str) -> tuple[Word, ...]:
        """Times of known English words, in seconds of the clip (S,).

        Raises:
            InputError: a word is not in the dictionary, or the words are not to be found in the clip.
        """
        words = _WORDS.findall(text.lower().replace("’", "'").replace("-", " "))
        unknown = [word for word in words if self._decoder.lookup_word(word) is None]
        if unknown or not words:
            shown = f"not in CMUdict: {', '.join(dict.fromkeys(unknown))}" if words else "there are no words"
            raise InputError(f"cannot align {text[:40]!r}: {shown}; write it in English words of that dictionary")
        noise = np.random.default_rng(0).standard_normal(len(samples), np.float32)
        try:
            self._decoder.set_align_text(" ".join(words))
            for level in UNDERLAID:
                found = tuple(self._words(samples + np.float32(level) * noise, 0.0))
                if [word.text for word in found] == words:
                    return found
        finally:
            self._decoder.activate_search()
        raise InputError(f"cannot align {text[:40]!r}: these words are not found in the clip; check the text")

    def _words(self, samples: Samples, begin: float) -> Iterator[Word]:
        # Noise and mean tracked over earlier clips would make an answer depend on what was asked before.
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        self._decoder.process_raw(to_int16(samples).tobytes(), full_utt=True)
        self._decoder.end_utt()
        longest = len(samples) / SAMPLE_RATE
        for part in (self._decoder.seg() or ()) if self._decoder.hyp() else ():
            text = _VARIANT.sub("", part.word)
            if _SPOKEN.fullmatch(text):  # the rest is silence and noise: <sil>, [NOISE]
                start, end = part.start_frame / self._frame_rate, (part.end_frame + 1) / self._frame_rate
                yield Word(
                    text, round(begin + start, 4), round(begin + min(end, longest), 4), min(1.0, round(part.prob, 4))
                )


class PocketSphinx:
    """English transcripts and word times."""

    name = "pocketsphinx"
    tasks = frozenset({"ASR", "SRWT"})

    def __init__(self) -> None:
        self.sphinx = Sphinx()

    @classmethod
    def open(cls, name: str, options: Options) -> PocketSphinx:
        """Raises MissingExtraError without the package, InputError for a setting or a device: it has none."""
        check_on_cpu(name, options)
        return cls()

    def recognise(self, clips: Iterable[Utterance], question: Question) -> Iterator[Recognition]:
        """See `Recogniser`."""
        check_question(self, question)
        check_no_prompt(self, question)
        if question.language not in (None, LANGUAGE):
            raise TaskError(f"{self.name} knows English, not {question.language!r}: ask it about clips in 'en'")
        return in_batches(clips, 1, lambda batch: [self._answer(loaded) for loaded in batch])

    def prompts(self, task: str) -> tuple[str, ...]:  # noqa: ARG002  (it takes none)
        """See `Recogniser`."""
        return ()

    def describe(self) -> Mapping[str, Any]:
        """See `Recogniser`."""
        return {"model": "en-us", "device": "cpu", "versions": versions("osum", "pocketsphinx", "numpy")}

    def _answer(self, loaded: LoadedClip) -> Recognition:
        text, words = self.sphinx.transcribe(loaded.samples)
        return Recognition(raw=text, text=text, words=loaded.placed(words))


class PocketSphinxAligner(PocketSphinx):
    """Times of the words that a clip is known to hold: its `text`."""

    name = "pocketsphinx-aligner"
    tasks = frozenset({"SRWT"})

    def _answer(self, loaded: LoadedClip) -> Recognition:
        try:
            words = self.sphinx.align(loaded.samples, loaded.clip.text or "")
        except InputError as fault:
            return Recognition(error=f"{loaded.clip.id}: {fault}")
        text = join_units(word.text for word in words)
        return Recognition(raw=text, text=text, words=loaded.placed(words))
