"""Sets that espeak-ng speaks on the spot: a few sentences of our own in voices that `nano` has not learned from.

They are spoken once, in a process of their own, since a voice continues from what it spoke before in one process:
so every machine with the same espeak-ng has the same clips.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import soundfile
import yaml

from osum.audio import SAMPLE_RATE
from osum.corpus.manifest import read_manifest, write_manifest
from osum.corpus.synthesis import FEMALE, HELD_OUT, SynthesisVoice, espeak
from osum.corpus.transcript import chinese_units, english_units, pinyin_units, units_text
from osum.errors import MissingExtraError, OsumError
from osum.utterance import Utterance, Word

SENTENCES = "sentences.yaml"
LIST = "test.jsonl"
_ACCENTS = {"en": "en-us", "zh": "cmn-latn-pinyin"}


def spoken_clips(folder: Path) -> list[Utterance]:
    """All clips, spoken now where the folder does not hold them yet.

    Raises:
        OsumError: espeak-ng or pypinyin is not installed; the message says how to install it.
    """
    path = folder / LIST
    sentences = _sentences()
    if path.is_file():
        found = list(read_manifest(path))
        wanted = {one.name: units_text(one.units) for one in sentences}
        if {clip.id: clip.text for clip in found} == wanted and all(Path(clip.path).is_file() for clip in found):
            return found
    done = subprocess.run(
        [sys.executable, "-m", "osum.evaluation.sets.spoken", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise OsumError(f"sentences cannot be spoken: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    return list(read_manifest(path))


def english(folder: Path) -> list[Utterance]:
    """The English sentences."""
    return [clip for clip in spoken_clips(folder) if clip.language == "en"]


def mandarin(folder: Path) -> list[Utterance]:
    """The Mandarin sentences."""
    return [clip for clip in spoken_clips(folder) if clip.language == "zh"]


class _Sentence(NamedTuple):
    """A packaged sentence."""

    name: str
    language: str
    units: list[str]
    """Words or characters, with their stops."""


def _sentences() -> list[_Sentence]:
    found = yaml.safe_load(files(__package__).joinpath(SENTENCES).read_text(encoding="utf-8"))
    return [
        _Sentence(f"espeak-{language}-{number:02d}", language, _units(text, language))
        for language, texts in found.items()
        for number, text in enumerate(texts, 1)
    ]


def _units(text: str, language: str) -> list[str]:
    units = english_units(text) if language == "en" else chinese_units(text)
    assert units, f"a packaged sentence cannot be spoken: {text}"
    return units


def _speak(folder: Path) -> None:
    """Speak every sentence and write it as FLAC; the list is written last."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = [_spoken(folder, *job) for job in zip(_sentences(), cycle(HELD_OUT["test"]), strict=False)]
    write_manifest(folder / LIST, clips)


def _spoken(folder: Path, sentence: _Sentence, variant: str) -> Utterance:
    path = folder / f"{sentence.name}.flac"
    said = sentence.units if sentence.language == "en" else pinyin_units(sentence.units)
    speech = espeak().speak(said, SynthesisVoice(_ACCENTS[sentence.language], variant, rate=160))
    soundfile.write(path, speech.samples, SAMPLE_RATE, subtype="PCM_16")
    times = zip(sentence.units, speech.words, strict=False)
    return Utterance(
        id=sentence.name,
        path=str(path),
        duration=len(speech.samples) / SAMPLE_RATE,
        text=units_text(sentence.units),
        language=sentence.language,
        words=tuple(Word(unit.rstrip(",.?"), word.start, word.end) for unit, word in times),
        labels={"gender": "female" if variant in FEMALE else "male"},
        speaker=f"espeak_{variant}",
        source="espeak",
    )


if __name__ == "__main__":
    try:
        _speak(Path(sys.argv[1]))
    except ImportError as missing:
        sys.exit(str(MissingExtraError(missing.name or "pypinyin", "train")))
    except OsumError as fault:
        sys.exit(str(fault))
