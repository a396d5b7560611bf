"""The builder of nano's data: what samples take out, what rows mean, who lands where, what is spoken."""

import json
from pathlib import Path

import numpy as np
import pytest

from osum.audio import SAMPLE_RATE
from osum.corpus.manifest import read_manifest
from osum.corpus.packed import AUDIO, PackedAudio
from osum.utterance import Utterance
from recipes.nano import build, mix
from recipes.nano.recordings import deal, exclusions, utterance
from recipes.nano.synthetic import chinese_number, english_number

BASE = {"audio": "a.ogg", "licence": "CC0", "duration_s": 1.0}


def kit_row(**fields):
    return utterance(BASE | {"id": "x/1", "source": "x", "language": "en"} | fields, Path("k"))


def test_a_sample_takes_out_its_speaker_or_its_recording():
    origins = [
        "https://github.com/karolpiczak/ESC-10 (006 - Person sneeze/1-54505-A.ogg)",
        "https://github.com/jimbozhang/speechocean762 (WAVE/SPEAKER9600/096000002.WAV)",
        "https://github.com/Jakobovski/free-spoken-digit-dataset (recordings/3_jackson_0.wav)",
        "https://github.com/coqui-ai/TTS (tests/data/ljspeech/wavs/LJ001-0002.wav)",
        "https://github.com/hugolpz/audio-cmn (96k/hsk/cmn-多少.mp3)",
        "https://github.com/openai/whisper (tests/jfk.flac)",
    ]
    rules = exclusions({"origin": origin, "id": "s"} for origin in origins)
    assert {(rule.field, rule.value) for rule in rules} == {
        ("clip_group", "fs54505"),
        ("speaker", "so9600"),
        ("id", "fsdd/3_jackson_0"),
        ("speaker", "lj"),
        ("text", "多少"),
    }


def test_an_infant_has_an_age_and_an_event_but_no_gender_and_no_words():
    row = kit_row(language="none", event="cry", gender="male", age_group="child")
    assert row.labels == {"age": "child", "event": "cry"}
    assert (row.text, row.language) == ("", None)


def test_speech_without_transcript_is_unknown_and_not_empty():
    row = kit_row(source="librispeech", style="read", gender="female")
    assert row.text is None
    assert row.labels == {
        "language": "en", "gender": "female", "event": "none", "emotion": "neutral", "style": "有声书"
    }  # fmt: skip
    assert row.extra["weak"] == ["emotion", "style"]


def test_a_guessed_event_is_marked_weak():
    row = kit_row(language="none", emotion="amusement", event_weak="laugh", style="vocal burst")
    assert row.labels == {"emotion": "happy", "event": "laugh"} and row.extra["weak"] == ["event"]


def test_speakers_are_disjoint_and_shares_exact():
    rows = [Utterance(id=f"{i}", path="", speaker=f"s{i % 40}", source="x") for i in range(400)]
    speakers = {"train": set(), "valid": set(), "test": set()}
    for split, row in deal(rows, seed=1):
        speakers[split].add(row.speaker)
    assert [len(part) for part in speakers.values()] == [32, 2, 6]
    assert len(set.union(*speakers.values())) == 40


def test_the_text_of_a_lone_speaker_is_held_out_and_said_so():
    rows = [Utterance(id=f"{i}", path="", text=f"t{i % 50}", speaker="s", source="aishell1") for i in range(200)]
    dealt = list(deal(rows, seed=1))
    texts = {split: {row.text for name, row in dealt if name == split} for split in ("train", "test")}
    assert texts["test"] and not texts["train"] & texts["test"]
    assert all(("split_note" in row.extra) == (split == "test") for split, row in dealt)


@pytest.mark.parametrize(
    ("number", "english", "chinese"),
    [
        (7, "seven", "七"),
        (10, "ten", "十"),
        (20, "twenty", "二十"),
        (115, "one hundred and fifteen", "一百一十五"),
        (1050, "one thousand and fifty", "一千零五十"),
        (2305, "two thousand three hundred and five", "二千三百零五"),
    ],
)
def test_numbers_in_words(number, english, chinese):
    assert (english_number(number), chinese_number(number)) == (english, chinese)


def test_loud_part_finds_the_word():
    clip = np.concatenate([np.zeros(8000), np.ones(4000), np.zeros(8000)]).astype(np.float32)
    assert mix.loud_part(clip) == slice(8000, 12000)
    assert mix.loud_part(np.zeros(500, np.float32)) == slice(0, 500)


def burst(seconds=0.5):
    return np.random.default_rng(0).uniform(-0.3, 0.3, int(seconds * SAMPLE_RATE)).astype(np.float32)


def speech_rows():
    extra = {"evidence": "real"}
    digits = [
        Utterance(id=f"d{i}", path="", text=w, language="en", speaker="a", source="fsdd", duration=0.5, extra=extra)
        for i, w in enumerate(("one", "two"))
    ]
    told = Utterance(
        id="t", path="", text="hello", language="en", speaker="b", source="x", duration=0.5, extra=extra,
        labels={"event": "none", "emotion": "neutral", "gender": "male"},
    )  # fmt: skip
    laugh = Utterance(
        id="l", path="", text="", speaker="c", source="y", duration=0.5, labels={"event": "laugh"}, extra=extra
    )
    return [*(mix.one_word_time(row, burst()) for row in digits), told, laugh]


def test_mixtures_keep_transcript_times_and_take_the_event(monkeypatch):
    monkeypatch.setitem(mix.AMOUNTS, "valid", mix.MixAmounts(5, 0, 8, 2))
    made = list(mix.mixtures("valid", speech_rows(), lambda _: burst(), np.random.default_rng(1)))
    assert len(made) == 15
    for row, samples in made:
        assert row.text == " ".join(word.text for word in row.words) or not row.words
        assert all(0 <= word.start < word.end <= samples.size / SAMPLE_RATE for word in row.words)
    laughs = [row for row, _ in made if row.labels.get("event") == "laugh"]
    assert len(laughs) == 8 and all("emotion" not in row.labels for row in laughs)


def test_a_build_can_be_read_back(tmp_path, monkeypatch):
    kit = tiny_kit(tmp_path)
    monkeypatch.setattr(build.synthetic, "jobs", lambda *_: [])
    monkeypatch.setattr(mix, "AMOUNTS", dict.fromkeys(build.SPLITS, mix.MixAmounts(0, 0, 1, 2)))
    monkeypatch.setattr(build, "train_tokenizer", lambda *_, **__: _Sized())
    stats = build.build(kit, tmp_path / "out", num_processes=1)
    rows = list(read_manifest(tmp_path / "out" / "train.jsonl"))
    first = PackedAudio(tmp_path / "out" / AUDIO).read(rows[0])
    assert stats["train"]["clips"] == len(rows)
    assert first.size == rows[0].extra["num_samples"] == round(rows[0].duration * SAMPLE_RATE)
    assert json.loads((tmp_path / "out" / "excluded.json").read_text())[0]["id"] == "s/gone"


class _Sized:
    def get_vocab_size(self):
        return 1


def tiny_kit(folder):
    import soundfile

    samples = [{"id": "smoke/1", "origin": "https://github.com/jimbozhang/speechocean762 (WAVE/SPEAKER0001/1.WAV)"}]
    rows = [
        BASE | {"id": f"s/{i}", "audio": f"{i}.wav", "source": "s", "language": "en", "text": "hi", "speaker": f"s{i}"}
        for i in range(12)
    ]
    rows.append(rows[0] | {"id": "s/gone", "source": "speechocean762", "speaker": "so0001"})
    for place, content in (("smoke", samples), ("real/s", rows)):
        (folder / "kit" / place).mkdir(parents=True)
        lines = "\n".join(json.dumps(row) for row in content)
        (folder / "kit" / place / "manifest.jsonl").write_text(lines, encoding="utf-8")
    for i in range(12):
        soundfile.write(folder / "kit" / "real" / "s" / f"{i}.wav", burst(), SAMPLE_RATE)
    return folder / "kit"
