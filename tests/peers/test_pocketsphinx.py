"""PocketSphinx, the real one: words, times, and the same answer whatever was asked before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

pytest.importorskip("pocketsphinx")

from osum.audio import SAMPLE_RATE, load
from osum.corpus.manifest import read_manifest
from osum.errors import InputError, TaskError
from osum.peers import open_recogniser
from osum.peers.pocketsphinx import PocketSphinx
from osum.peers.recogniser import Options, Question
from osum.utterance import Utterance

SAMPLES = Path(__file__).parents[2] / "samples"
NEAR = 0.1  # seconds; the references were made by another aligner


@pytest.fixture(scope="module")
def sphinx() -> PocketSphinx:
    return PocketSphinx()


@pytest.fixture(scope="module")
def timed() -> Utterance:
    """1.4 s, three words with times."""
    return next(row for row in read_manifest(SAMPLES / "manifest.jsonl") if row.words)


def apart(samples: NDArray[np.float32], seconds: int) -> NDArray[np.float32]:
    """The clip at the beginning of faint noise, and once more after `seconds`."""
    hiss = np.random.default_rng(0).standard_normal(seconds * SAMPLE_RATE + len(samples)) * 1e-4
    hiss[: len(samples)] += samples
    hiss[-len(samples) :] += samples
    return hiss.astype(np.float32)


def test_words_have_the_times_of_the_reference(sphinx: PocketSphinx, timed: Utterance) -> None:
    (answer,) = sphinx.recognise([timed], Question("SRWT", language="en"))
    assert answer.text == "montreal fourth liner" == " ".join(word.text for word in answer.words)
    for found, word in zip(answer.words, timed.words, strict=True):
        assert found.start == pytest.approx(word.start, abs=NEAR) and found.end == pytest.approx(word.end, abs=NEAR)


def test_earlier_clips_change_nothing(sphinx: PocketSphinx, timed: Utterance, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", load(SAMPLES / "sneeze.flac")[:4_000] * 3, SAMPLE_RATE)
    missing, other = (Utterance(name, str(tmp_path / f"{name}.wav")) for name in ("missing", "loud"))
    first, gone, _, again = sphinx.recognise([timed, missing, other, timed], Question("ASR"))
    assert first == again and first.text and gone.error and gone.text is None


def test_a_long_clip_is_cut_and_put_together(sphinx: PocketSphinx, timed: Utterance) -> None:
    word = load(timed.path)
    text, words = sphinx.sphinx.transcribe(apart(word, 32))
    assert text == "montreal fourth liner montreal fourth liner"
    assert words[3].start == pytest.approx(words[0].start + 32, abs=0.3)


def test_known_words_are_aligned_in_times_of_the_file(timed: Utterance, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "late.wav", apart(load(timed.path), 2), SAMPLE_RATE)
    clip = Utterance("late", str(tmp_path / "late.wav"), start=2.0, text="Montreal forced a liner.")
    aligner = open_recogniser("pocketsphinx-aligner")
    (answer,) = aligner.recognise([clip], Question("SRWT"))
    assert [word.text for word in answer.words] == ["montreal", "forced", "a", "liner"]
    assert answer.words[1].start == pytest.approx(2 + timed.words[1].start, abs=NEAR)
    assert next(aligner.recognise([clip], Question("SRWT"))) == answer


def test_known_words_are_found_between_digital_silences(sphinx: PocketSphinx, timed: Utterance) -> None:
    silence = np.zeros(SAMPLE_RATE // 2, np.float32)
    clip = np.concatenate([silence, load(timed.path), silence])
    plain, late = (sphinx.sphinx.align(samples, "montreal forced a liner") for samples in (load(timed.path), clip))
    for word, later in zip(plain[1:-1], late[1:-1], strict=True):
        assert later.start == pytest.approx(word.start + 0.5, abs=NEAR)


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("montreal forced aligner", "not in CMUdict: aligner"),
        ("你好", "not in CMUdict: 你好"),
        ("", "there are no words"),
        ("what your country can do for you", "these words are not found in the clip"),
    ],
)
def test_words_that_cannot_be_aligned_are_reported(
    sphinx: PocketSphinx, timed: Utterance, text: str, reported: str
) -> None:
    with pytest.raises(InputError, match=reported):
        sphinx.sphinx.align(load(timed.path), text)
    assert sphinx.sphinx.transcribe(load(timed.path))[0] == "montreal fourth liner"


def test_what_it_cannot_answer_is_reported(sphinx: PocketSphinx, timed: Utterance) -> None:
    for question, reported in (
        (Question("SER"), "pocketsphinx does not answer 'SER': it answers ASR, SRWT"),
        (Question("ASR", prompt="Transcribe."), "pocketsphinx takes no prompt"),
        (Question("ASR", language="zh"), "knows English, not 'zh'"),
    ):
        with pytest.raises(TaskError, match=reported):
            sphinx.recognise([timed], question)
    with pytest.raises(InputError, match="pocketsphinx runs on the CPU in float32, not on cuda"):
        open_recogniser("pocketsphinx", Options(device="cuda"))
