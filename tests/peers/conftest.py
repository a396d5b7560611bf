"""Clips and tiny models that the tests of several recognisers share."""

from __future__ import annotations

import pytest
import soundfile
from model.tiny import noise

from osum.audio import SAMPLE_RATE
from osum.utterance import Utterance


@pytest.fixture(scope="session")
def noises(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """Noise: 1 s, one that is missing, 2 s, and a stretch of these 2 s."""
    folder = tmp_path_factory.mktemp("noises")
    for name, seconds in (("one", 1), ("two", 2)):
        soundfile.write(folder / f"{name}.wav", noise(seconds * SAMPLE_RATE, seconds), SAMPLE_RATE)
    two = str(folder / "two.wav")
    return [
        Utterance("one", str(folder / "one.wav")),
        Utterance("missing", str(folder / "missing.wav")),
        Utterance("two", two),
        Utterance("stretch", two, start=0.5, end=1.5),
    ]
