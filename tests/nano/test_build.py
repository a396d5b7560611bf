"""The builder of nano's data: what samples take out, what rows mean, who lands where, what is spoken."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from osum.audio import SAMPLE_RATE
from osum.corpus.manifest import read_manifest
from osum.corpus.packed import PackedAudio
from osum.errors import InputError
from osum.utterance import Utterance
from recipes.nano import build, mix
from recipes.nano.recordings import cut, deal, exclusions, utterance
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


def test_a_speaker_of_two_sources_of_a_corpus_is_dealt_once():
    rows = [
        Utterance(id=f"{source}{i}", path="", speaker=f"ls{i % 20}", source=source, labels={"gender": "male"})
        for source in ("librispeech", "librispeech-train5")
        for i in range(40)
    ]
    splits = {}
    for split, row in deal(rows, seed=1):
        splits.setdefault(row.speaker, set()).add(split)
    assert all(len(found) == 1 for found in splits.values()) and len(splits) == 20


def test_a_speaker_whose_labels_differ_between_clips_is_dealt_once():
    ages = [{"age": "adult"}, {}, {"age": "old"}]
    rows = [Utterance(id=f"{i}", path="", speaker=f"s{i % 30}", source="x", labels=ages[i % 3]) for i in range(90)]
    rows += [Utterance(id=f"b{i}", path="", speaker=f"s{i}", source="x") for i in range(30)]
    splits = {}
    for split, row in deal(rows, seed=1):
        splits.setdefault(row.speaker, set()).add(split)
    assert all(len(found) == 1 for found in splits.values())


def test_the_one_speaker_of_aishell_is_in_no_training():
    rows = [Utterance(id=f"aishell1/{i}", path="", speaker="S0150", source="aishell1", text=f"{i}") for i in range(20)]
    assert {split for split, _ in deal(rows, seed=1)} == {"test"}


def test_the_text_of_a_lone_speaker_is_held_out_and_said_so():
    source = "audio-cmn-words"
    rows = [Utterance(id=f"{i}", path="", text=f"t{i % 50}", speaker="s", source=source) for i in range(200)]
    dealt = list(deal(rows, seed=1))
    texts = {split: {row.text for name, row in dealt if name == split} for split in ("train", "test")}
    assert texts["test"] and not texts["train"] & texts["test"]
    assert all(("split_note" in row.extra) == (split == "test") for split, row in dealt)


def test_other_languages_teach_gender_and_age_alone():
    row = kit_row(
        source="commonvoice-other-age", language="fr", text="bonjour", gender="male", age_group="old", style="read"
    )
    assert (row.text, row.language, row.labels) == (None, None, {"gender": "male", "age": "old"})


def test_acted_german_teaches_emotion_without_words_or_language():
    row = kit_row(source="emodb", language="de", text="heute", gender="male", emotion="fearful", style="acted")
    assert (row.text, row.language) == (None, None)
    assert row.labels == {"gender": "male", "event": "none", "emotion": "fear"}
    assert "emotion" not in kit_row(source="emodb", language="de", emotion="bored").labels


def test_traditional_characters_become_simplified():
    assert kit_row(language="zh", text="電腦").text == "电脑"


def test_times_are_taken_where_they_are_those_of_the_transcript():
    times = [["then", 0.5, 0.7], ["whose", 0.7, 1.0]]
    row = kit_row(text="Then whose?", words_auto=times)
    assert [(word.text, word.start, word.end) for word in row.words] == [("then", 0.5, 0.7), ("whose", 0.7, 1.0)]
    assert kit_row(text="Then who", words_auto=times).words == ()


def test_a_long_recording_is_cut_between_words():
    written = {"text": " ".join(["a", "b"] * 20), "words_auto": [["ab"[i % 2], i, i + 0.8] for i in range(40)]}
    row = kit_row(**written, duration_s=40.0)
    pieces = list(cut(row, written))
    assert " ".join(piece.text for piece in pieces) == row.text
    assert all(piece.end - piece.start <= 12.5 for piece in pieces)
    assert len({piece.id for piece in pieces}) == len(pieces) > 2


def test_a_clip_without_text_takes_what_whisper_reads():
    row = utterance(BASE | {"id": "x/1", "source": "x", "language": "en"}, Path("k"), {"x/1": "Hello, you."})
    assert (row.text, row.extra["transcript"]) == ("hello you", "whisper")


def test_digits_that_whisper_writes_are_no_transcript():
    row = utterance(BASE | {"id": "x/1", "source": "x", "language": "en"}, Path("k"), {"x/1": "Chapter 17."})
    assert row.text is None and "transcript" not in row.extra


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
    reported = Utterance(
        id="t", path="", text="hello", language="en", speaker="b", source="x", duration=0.5, extra=extra,
        labels={"event": "none", "emotion": "neutral", "gender": "male"},
    )  # fmt: skip
    laugh = Utterance(
        id="l", path="", text="", speaker="c", source="y", duration=0.5, labels={"event": "laugh"}, extra=extra
    )
    return [*(mix.one_word_time(row, burst()) for row in digits), reported, laugh]


def test_mixtures_keep_transcript_times_and_take_the_event(monkeypatch):
    monkeypatch.setitem(mix.AMOUNTS, "valid", mix.MixAmounts(5, 0, 8, 2))
    made = list(mix.mixtures("valid", speech_rows(), lambda _: burst(), np.random.default_rng(1)))
    assert len(made) == 15
    for row, samples in made:
        assert row.text == " ".join(word.text for word in row.words) or not row.words
        assert all(0 <= word.start < word.end <= samples.size / SAMPLE_RATE for word in row.words)
    laughs = [row for row, _ in made if row.labels.get("event") == "laugh"]
    assert len(laughs) == 8 and all("emotion" not in row.labels for row in laughs)


@pytest.fixture
def kit(tmp_path, monkeypatch):
    monkeypatch.setattr(build.synthetic, "jobs", lambda *_: [])
    monkeypatch.setattr(build.talk, "jobs", lambda *_: [])
    monkeypatch.setattr(mix, "AMOUNTS", dict.fromkeys(build.SPLITS, mix.MixAmounts(0, 0, 1, 2)))
    monkeypatch.setattr(build, "train_tokenizer", lambda *_, **__: _Sized())
    return tiny_kit(tmp_path)


def made(kit, tmp_path, **sources):
    return build.build(build.Sources(kit, **sources), tmp_path / "out", num_processes=1)


def test_a_build_can_be_read_back(kit, tmp_path):
    stats = made(kit, tmp_path)
    rows = list(read_manifest(tmp_path / "out" / "train.jsonl"))
    assert stats["train"]["clips"] == len(rows)
    for row in rows:
        samples = PackedAudio(row.path).read(row)
        assert samples.size == row.extra["num_samples"] == round(row.duration * SAMPLE_RATE)
    assert json.loads((tmp_path / "out" / "excluded.json").read_text())[0]["id"] == "s/gone"


def test_a_second_build_makes_nothing_again(kit, tmp_path, monkeypatch):
    first = made(kit, tmp_path)
    monkeypatch.setattr(build, "decode", lambda _: pytest.fail("decoded again"))
    assert made(kit, tmp_path) == first


def test_a_build_that_was_stopped_continues(kit, tmp_path, monkeypatch):
    mixtures = build.mixtures
    monkeypatch.setattr(build, "mixtures", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        made(kit, tmp_path)
    assert not list((tmp_path / "out" / "parts").glob(".*"))
    monkeypatch.setattr(build, "mixtures", mixtures)
    monkeypatch.setattr(build, "decode", lambda _: pytest.fail("decoded again"))
    assert made(kit, tmp_path)["train"]["clips"] > 0


def test_a_part_that_was_cut_off_is_made_again(kit, tmp_path):
    made(kit, tmp_path)
    packed = tmp_path / "out" / "parts" / "recordings.i16"
    whole = packed.read_bytes()
    packed.write_bytes(whole[:100])
    made(kit, tmp_path)
    assert packed.read_bytes() == whole


def test_a_changed_kit_is_built_again(kit, tmp_path):
    before = made(kit, tmp_path)["parts"]
    manifest = kit / "real" / "s" / "manifest.jsonl"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"hi"', '"ho"'), encoding="utf-8")
    after = made(kit, tmp_path)["parts"]
    assert before["recordings"] != after["recordings"] and before["espeak"] == after["espeak"]
    assert {row.text for row in read_manifest(tmp_path / "out" / "train.jsonl")} == {"ho", ""}


def test_a_kit_without_its_audio_says_how_to_complete_it(kit, tmp_path):
    for path in (kit / "real" / "s").glob("1*.wav"):
        path.unlink()
    with pytest.raises(InputError, match=r"3 of 12 recordings cannot be read.*recipes\.nano\.kit"):
        made(kit, tmp_path)


def test_a_full_disk_leaves_no_half_part(kit, tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(build.PackedWriter, "append", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(OSError, match="No space"):
        made(kit, tmp_path)
    assert list((tmp_path / "out" / "parts").iterdir()) == []


def test_missing_transcripts_are_reported(kit, tmp_path):
    with pytest.raises(InputError, match=r"recipes\.nano\.transcribe"):
        made(kit, tmp_path, transcripts=tmp_path / "none.jsonl")


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
