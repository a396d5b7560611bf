"""What the tests of the command share: made recordings, a stand-in for a model, one way to run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from osum.cli import main
from osum.corpus.clips import ClipAudio
from osum.engine.options import LabelOptions
from osum.errors import OsumError
from osum.tasks import OSUM
from osum.utterance import Answer, Segment, Utterance, Word

RATE = 16_000


class Ran(NamedTuple):
    """How a run ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]
MakeClip = Callable[..., Path]


@pytest.fixture
def osum(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process."""

    def run(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture
def clip(tmp_path: Path) -> MakeClip:
    """Write a recording of noise, 0.3 s long where nothing else is given."""

    def write(name: str = "clip.wav", seconds: float = 0.3, channels: int = 1) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = np.random.default_rng(0).standard_normal((round(seconds * RATE), channels)) * 0.1
        with path.open("wb") as file:  # soundfile takes no name that is not UTF-8
            soundfile.write(file, samples, RATE, format=path.suffix.removeprefix(".") or "wav")
        return path

    return write


class StandIn:
    """Hears a woman say "hello there" in every recording that can be read."""

    name, revision, dtype, device, tasks, max_seconds = "stand-in", "1", "float32", "cpu", OSUM, 30.0
    engine = SimpleNamespace(counts=SimpleNamespace(memory_faults=0))

    def label_files(self, items: Iterable[Utterance], options: LabelOptions, *_: object) -> Iterator[Utterance]:
        self.options = options
        return map(self._heard, items)

    def _heard(self, item: Utterance) -> Utterance:
        try:
            duration = len(ClipAudio().read(item)) / RATE
        except OsumError as fault:
            return item.with_(error=str(fault))
        words = (Word("hello", 0.0, 0.1), Word("there", 0.1, 0.2))
        labels = {"SGC": Answer("female", 0.9, evidence="real"), "SSR": Answer("日常口语", 0.5, evidence="synthetic")}
        segment = Segment(0.0, duration, "hello there", words, labels)
        found = {"text": "hello there", "language": "en", "segments": (segment,), "summary": labels}
        return item.with_(**found, duration=duration, model=self.name, revision=self.revision, dtype=self.dtype)

    def chat(self, audio: object, generation: object) -> str:
        return f"you said {type(audio).__name__} {type(generation).__name__}"

    def ask(self, audio: object, question: str, options: object) -> str:
        return f"{question} {type(audio).__name__} {type(options).__name__}"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Every command answers with the stand-in."""
    stand_in = StandIn()
    for command in ("label", "ask"):
        monkeypatch.setattr(f"osum.cli.{command}.load_model", lambda _: stand_in)
    return stand_in


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a model is a failure."""

    def refuse(_: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("osum.cli.label.load_model", refuse)
