"""What Kokoro speaks, and its cache: grows, survives a kill and a full disk, and keeps what Whisper reads back."""

import errno
import itertools
import json

import numpy as np
import pytest

from recipes.nano import speak
from recipes.nano.recordings import read_rows
from recipes.nano.spoken import agrees, spoken_utterances
from recipes.nano.texts import LISTS, jobs, replies, sentences, split_of


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "text"
    folder.mkdir()
    pairs = [
        {"en": f"It is {word}.", "zh": f"這是{word_zh}。", "by": ""}
        for word, word_zh in zip(WORDS, "天地人和你我他她它们", strict=True)
    ]
    chat = {"lang": "en", "turns": ["Who are you?", "I am a friend.", "Why?"]}
    (folder / "tatoeba_en_zh.jsonl").write_text("\n".join(map(json.dumps, pairs * 1)), encoding="utf-8")
    (folder / "chat_x.jsonl").write_text(json.dumps(chat), encoding="utf-8")
    (folder / "hsk2012_words.txt").write_text("你好\n3D\n再见\n", encoding="utf-8")
    return folder


WORDS = ["red", "blue", "green", "late", "early", "cold", "warm", "new", "old", "true"]


class Voice:
    """Stands in for Kokoro."""

    def __init__(self):
        self.spoken = []

    def speak(self, job):
        if "red" in job.text:
            raise ValueError("cannot be said")
        self.spoken.append(job.name)
        return np.full(8000, 0.5, np.float32)


def first(texts, count):
    return list(itertools.islice(jobs(texts), count))


@pytest.fixture(autouse=True)
def every_sentence_trains(monkeypatch):
    monkeypatch.setattr("recipes.nano.texts.split_of", lambda _: "train")
    monkeypatch.setattr("recipes.nano.texts.HELD_OUT_SHARE", {"train": 1.0})


def test_the_list_is_the_same_every_time(texts):
    assert first(texts, 50) == first(texts, 50)


def test_talk_is_drawn_apart_so_that_a_cache_stays_on_the_list(texts, monkeypatch):
    talk = {"chat", "cut", "wait", "backchannel"}
    mixed = first(texts, 300)
    monkeypatch.setattr("recipes.nano.texts.TALK_EVERY", 10**9)
    plain = first(texts, 300)
    assert [job for job in mixed if job.kind not in talk] == plain[: sum(job.kind not in talk for job in mixed)]
    assert {job.kind for job in mixed} > talk


def test_a_cut_text_is_the_beginning_of_a_sentence(texts):
    cuts = [job for job in first(texts, 400) if job.kind == "cut"]
    whole = [*sentences(texts, "en", "train"), *sentences(texts, "zh", "train")]
    assert cuts and all(any(text.startswith(job.text) and text != job.text for text in whole) for job in cuts)


def test_training_has_no_voice_that_is_held_out(texts):
    out = {name for names in LISTS["held_out"].values() for name in names}
    assert not out & {voice for job in first(texts, 300) for voice in (job.timbre, job.prosody)}


def test_sentences_are_simplified(texts):
    assert "这是天。" in sentences(texts, "zh", "train")


def test_a_sentence_is_in_one_split_whatever_the_seed():
    assert {split_of(f"sentence {number}") for number in range(300)} == {"train", "valid", "test"}


def test_the_cache_continues_where_it_was_killed(texts, tmp_path):
    voice = Voice()
    speak.fill(voice, texts, tmp_path / "cache", hours=5 / 7200, seed=1)
    index = tmp_path / "cache" / speak.INDEX
    index.write_bytes(index.read_bytes() + b'{"name": "half')
    again = Voice()
    speak.fill(again, texts, tmp_path / "cache", hours=9 / 7200, seed=1)
    names = [row["name"] for row in read_rows(index)]
    assert names == voice.spoken + again.spoken and len(set(names)) == len(names) == 9
    assert {path.stem for path in (tmp_path / "cache" / "audio").iterdir()} == set(names)


def test_a_full_disk_ends_it_in_one_line(texts, tmp_path, monkeypatch):
    speak.fill(Voice(), texts, tmp_path / "cache", hours=2 / 7200, seed=1)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(speak, "_store", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(SystemExit, match="the disk is full"):
        speak.fill(Voice(), texts, tmp_path / "cache", hours=4 / 7200, seed=1)
    assert len(read_rows(tmp_path / "cache" / speak.INDEX)) == 2


def test_a_missing_kokoro_says_where_it_comes_from(tmp_path):
    with pytest.raises(SystemExit, match="release page of kokoro-onnx"):
        speak.Speaker(tmp_path)


def test_rows_have_text_gender_and_no_emotion(texts, tmp_path):
    speak.fill(Voice(), texts, tmp_path / "cache", hours=20 / 7200, seed=1)
    rows = spoken_utterances(tmp_path / "cache", texts, {})
    assert len(rows) == 20
    for split, row in rows:
        assert split == "train" and row.text and row.labels["gender"] in ("male", "female")
        assert not {"emotion", "age"} & set(row.labels)


def test_speech_that_whisper_reads_otherwise_is_left_out(texts, tmp_path):
    speak.fill(Voice(), texts, tmp_path / "cache", hours=20 / 7200, seed=1)
    rows = [row for _, row in spoken_utterances(tmp_path / "cache", texts, {})]
    sentence = next(row for row in rows if row.extra["kind"] == "sentence")
    assert agrees(sentence, sentence.text) and not agrees(sentence, "something else altogether here")
    kept = spoken_utterances(tmp_path / "cache", texts, {sentence.id: "something else altogether here"})
    assert sentence.id not in {row.id for _, row in kept} and len(kept) == 19


def test_replies_are_short_answers_to_turns(texts):
    assert replies(texts) == {"Who are you?": "i am a friend", "I am a friend.": "why"}
