"""Turns that are over or not: what is cut, what is labelled, and that the end of a clip does not say it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from osum.audio import SAMPLE_RATE
from osum.tasks.catalog import TURNS
from osum.utterance import Utterance, Word
from recipes.nano import build, talk

WORDS = ["the", "old", "man", "and", "the", "sea", "again"]
RNG = np.random.default_rng


def sentence(number: int = 0, language: str = "en", timed: bool = True, **changes: object) -> Utterance:
    """Seven words of 0.3 s with pauses of 0.1 s between them, as `clip` has them."""
    words = tuple(Word(word, 0.4 * i, 0.4 * i + 0.3) for i, word in enumerate(WORDS)) if timed else ()
    text = " ".join(WORDS) if language == "en" else "老人与海又来了"
    fields: dict[str, object] = {
        "id": f"r{number}", "path": "", "duration": 2.8, "text": text, "language": language, "words": words,
        "labels": {"event": "none", "gender": "male", "style": "有声书"}, "speaker": "s", "source": "librispeech",
        "extra": {"evidence": "real", "times": "pocketsphinx"},
    }  # fmt: skip
    return Utterance(**{**fields, **changes})  # type: ignore[arg-type]


def clip(_: Utterance | None = None) -> np.ndarray:
    """(S,), loud where the words are."""
    loud = np.concatenate([np.r_[np.full(4800, 0.3), np.zeros(1600)] for _ in WORDS])
    return (loud * RNG(3).uniform(-1, 1, loud.size)).astype(np.float32)


def made(rows: list[Utterance], monkeypatch: pytest.MonkeyPatch, count: int = 6) -> list[tuple[Utterance, np.ndarray]]:
    monkeypatch.setitem(talk.AMOUNTS, "train", count)
    return list(talk.turns("train", rows, clip, RNG(1)))


def test_the_states_are_those_of_the_task() -> None:
    assert set(talk.STATES) == set(TURNS.labels)


def test_each_state_has_as_many_clips_as_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [sentence(i) for i in range(9)] + [sentence(10, text="stop", words=()), sentence(11, text="yeah", words=())]
    assert Counter(row.labels["turn"] for row, _ in made(rows, monkeypatch)) == dict.fromkeys(talk.STATES, 6)


def test_a_cut_clip_has_the_words_before_the_cut() -> None:
    found = set()
    for seed in range(60):
        row, samples = talk.cut_off(sentence(), clip(), RNG(seed))
        assert row.text == " ".join(word.text for word in row.words) == " ".join(WORDS[: len(row.words)])
        assert row.words[-1].end < samples.size / SAMPLE_RATE < row.words[-1].end + 0.1
        found.add(len(row.words))
    assert found == set(range(1, len(WORDS)))  # at every place


def test_a_clip_without_times_is_cut_in_a_pause_and_has_no_transcript() -> None:
    for seed in range(5):
        row, samples = talk.cut_off(sentence(timed=False, language="zh"), clip(), RNG(seed))
        assert row.text is None and 0.3 < samples.size % 6400 / SAMPLE_RATE < 0.4


def test_the_pause_is_as_quiet_as_the_clip_and_of_any_length() -> None:
    noisy = clip() + RNG(0).normal(0, 0.01, clip().size).astype(np.float32)
    lengths = {talk.paused(noisy, RNG(seed)).size - noisy.size for seed in range(20)}
    pause = talk.paused(noisy, RNG(0))[noisy.size :]
    assert len(lengths) == 20 and pause.std() == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "too short", "words": ()},
        {"text": None, "words": ()},
        {"labels": {"event": "laugh"}},
        {"extra": {"evidence": "synthetic", "kind": "digits"}},
        {"id": "long/1#2"},
    ],
)
def test_what_is_no_whole_sentence_is_neither_complete_nor_cut(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    assert not [row for row, _ in made([sentence(**changes)], monkeypatch) if row.labels["turn"][-8:] == "complete"]


def test_a_turn_is_asked_its_task_and_keeps_no_reply_or_style(monkeypatch: pytest.MonkeyPatch) -> None:
    (row, _), *_ = made([sentence(reply="yes")], monkeypatch, count=1)
    assert row.reply is None and set(row.labels) == {"event", "gender", "turn"}


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "chat_a.jsonl").write_text('{"lang": "en", "turns": ["Who are you?", "A friend."]}\n', "utf8")
    (folder / "chat_b.jsonl").write_text('{"lang": "zh", "turns": ["你是谁？", "朋友。"]}\n', "utf8")
    return folder


def test_espeak_speaks_english_turns_with_their_replies(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talk, "split_of", lambda _: "train")
    monkeypatch.setattr(talk, "SHORT", dict.fromkeys(talk.SHORT, 2))
    jobs = talk.jobs(texts.parent, 1)
    assert jobs == talk.jobs(texts.parent, 1) and all(job.text.isascii() for job in jobs)
    rows = [row for _, row, _ in build._spoken(jobs[:5], 1, talk.answers(texts))]
    assert [row.labels["turn"] for row in rows] == ["complete", "wait", "wait", "backchannel", "backchannel"]
    assert (rows[0].text, rows[0].reply, rows[0].source) == ("who are you", "a friend", "espeak-talk")
    assert " ".join(word.text for word in rows[0].words) == rows[0].text and rows[1].reply is None
