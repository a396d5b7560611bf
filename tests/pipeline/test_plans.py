"""The plans of the repository end to end, on sample clips; language models and a synthesizer are stubs over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from peers.llm_server import Says, completion, running
from speech.releases import write_release

from osum.cli import main
from osum.corpus.manifest import read_manifest
from osum.corpus.readers import Line
from osum.pipeline.exports import export_dialogues
from osum.pipeline.plan import read_plan
from osum.pipeline.run import Summary, run
from osum.pipeline.steps.empathy import seeds
from osum.utterance import Utterance
from pipeline.speech_server import speaking
from pipeline.stage import rows_of

ROOT = Path(__file__).parents[2]
CLIPS = {row.id.partition("/")[2]: row for row in read_manifest(ROOT / "samples/manifest.jsonl")}
GIRL, BOY, WOMAN, MAN = "en_child_girl", "en_child_boy", "en_adult_female_zh_accent", "en_adult_male_zh_accent"


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the paths of the plans are seen from."""
    monkeypatch.chdir(ROOT)


def clips(*names: str, **changes: Any) -> list[Utterance]:
    return [CLIPS[name].with_(**changes) for name in names]


def done(name: str, rows: list[Utterance], out: Path, *changes: str) -> tuple[Summary, list[dict[str, Any]]]:
    plan = read_plan(ROOT / f"pipelines/{name}.yaml", changes)
    summary = run(plan, [Line(row.id, row) for row in rows], out)
    assert not any(tally.faults for _, tally in summary.steps), summary
    return summary, rows_of(out)


def left_out(summary: Summary) -> dict[str, int]:
    return {why: count for _, tally in summary.steps for why, count in tally.dropped.items()}


def asked(step: str, url: str) -> str:
    return f"{step}.endpoint={json.dumps({'url': url, 'model': 'stub', 'patience': 2})}"


def test_recordings_become_clean_pieces_and_nothing_is_there_twice(tmp_path: Path) -> None:
    rows = [*clips("en_jfk", GIRL, "no_voice_rain", text=None), *clips(GIRL, id="again", text=None)]
    summary, kept = done("clean", rows, tmp_path)
    assert {row["id"].partition("-")[0] for row in kept} == {"samples/en_jfk", f"samples/{GIRL}"}
    assert {"no speech", "duplicate sound"} <= set(left_out(summary))
    assert all(row["path"].endswith(".tar") and row["split"] and row["duration"] <= 30 for row in kept)


def test_recognisers_vote_on_transcripts(tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    summary, kept = done("asr", clips(GIRL, BOY, WOMAN, text=None), tmp_path, "vote.agree=0.2")
    assert len(kept) + sum(left_out(summary).values()) == 3 and kept
    for row in kept:
        told = row["provenance"]["text"]
        assert row["text"] and told["model"].startswith("nano@") and " pocketsphinx@" in told["model"]
        assert 0.2 <= told["score"] <= 1 and len(row["votes"]["text"]) == 2 and row["language"] == "en"


def test_two_aligners_time_words(tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    summary, kept = done("srwt", clips(BOY, "en_word_times", MAN), tmp_path, "align.near=0.5")
    assert set(left_out(summary)) <= {"aligners disagree", "cannot be aligned"}
    assert kept and len(kept) + sum(left_out(summary).values()) == 3
    for row in kept:
        assert [word["text"] for word in row["words"]] == row["text"].split() and row["aligners_apart"] <= 0.5
        assert row["provenance"]["words"] == {"step": "align", "version": 1, "model": "pocketsphinx"}


def test_events_are_put_into_read_speech(tmp_path: Path) -> None:
    summary, kept = done("ved", clips(GIRL, "zh_sentence_2", "laugh_1"), tmp_path)
    assert left_out(summary) == {"has an event already": 1} and len(kept) == 2
    for row in kept:
        (event,) = row["events"]
        assert row["labels"]["event"] == event["event"] in ("cry", "laugh", "sneeze") and row["text"]
        assert event["start"] < event["end"] <= row["duration"] and " + " in row["licence"]


@pytest.mark.parametrize(("name", "need"), [("sgc", "gender"), ("sap", "age")])
def test_labels_of_people_are_doubled_by_noise(tmp_path: Path, name: str, need: str) -> None:
    summary, kept = done(name, clips(GIRL, WOMAN, "en_jfk"), tmp_path)
    assert left_out(summary) == {"not a trusted source": 1}
    assert [row["id"].endswith("-noisy0") for row in kept] == [False, True, False, True]
    assert [row["labels"][need] for row in kept] == [CLIPS[one].labels[need] for one in (GIRL, GIRL, WOMAN, WOMAN)]
    assert {row["provenance"][need]["model"] for row in kept} == {"speechocean762"}
    assert all(row["split"] for row in kept)


def label(body: dict[str, Any]) -> Says:
    """By a word of the transcript, for either label set."""
    said = body["messages"][1]["content"]
    emotion = "Label set (emotion)" in said
    if "quarter" in said.partition("Transcript:")[2]:
        return completion({"label": "unclear"})
    return completion({"label": "neutral" if emotion else "日常口语"})


def test_emotions_are_those_on_which_sound_and_text_agree(tmp_path: Path) -> None:
    with running() as model:
        model.answer = label
        summary, kept = done("ser", clips(GIRL, BOY, WOMAN), tmp_path, asked("ask_text", model.url))
    assert left_out(summary).get("too few votes") == 1 and sum(left_out(summary).values()) + len(kept) == 3
    for row in kept:
        assert row["labels"]["emotion"] == "neutral" and row["provenance"]["emotion"]["score"] == 1
    assert "sound@" in str(kept) or not kept


def test_styles_are_those_on_which_two_language_models_agree(tmp_path: Path) -> None:
    with running() as model:
        model.answer = label
        summary, kept = done("ssr", clips(GIRL, BOY, WOMAN), tmp_path, asked("ask_text", model.url))
    assert left_out(summary) == {"too few votes": 1} and len(kept) == 2
    assert {row["labels"]["style"] for row in kept} == {"日常口语"}


def reply(body: dict[str, Any]) -> Says:
    said = body["messages"][1]["content"]
    deserves = "no" if "quarter" in said else "yes"
    return completion({"deserves_answer": deserves, "reply": "How nice, tell me more.", "emotion": "愉悦"})


def test_sentences_of_recordings_are_answered(tmp_path: Path) -> None:
    with running() as model:
        model.answer = reply
        summary, kept = done("sttc", clips(GIRL, WOMAN, MAN), tmp_path, asked("reply", model.url))
    assert left_out(summary) == {"deserves no answer": 1} and len(kept) == 2
    assert {(row["reply"], row["labels"]["reply_emotion"]) for row in kept} == {("How nice, tell me more.", "愉悦")}
    assert {row["provenance"]["reply"]["model"] for row in kept} == {"stub"}


def dialogue(body: dict[str, Any]) -> Says:
    if "Reply:" in body["messages"][1]["content"]:
        return completion({"score": 5})
    written = {"user": "Guess what happened today.", "thought": "The voice tells a lot.", "reply": "Oh, tell me."}
    return completion({**written, "emotion": "愉悦"})


def test_seeds_become_spoken_dialogues(tmp_path: Path) -> None:
    release, speech = write_release(tmp_path / "release"), tmp_path / "speech"
    assert main(["convert", str(release), str(speech)]) == 0
    with running() as model, speaking() as voice:
        model.answer = dialogue
        synthesizer = {"kind": "endpoint", "url": voice.url, "model": "tts", "voices": {"a": "female", "b": "male"}}
        changes = [asked(name, model.url) for name in ("write_dialogue", "judge_dialogue")]
        changes += [f"{name}.synthesizer={json.dumps(synthesizer)}" for name in ("speak", "reply_codes")]
        told = [f"reply_codes.tokenizer={speech}", "read_back.alike=0"]
        summary, kept = done("empathy", list(seeds(12, "en")), tmp_path / "out", *changes, *told)
    assert set(left_out(summary)) <= {"no sound of this event"} and len(kept) + sum(left_out(summary).values()) == 12
    cued = [row for row in kept if "event" in row["labels"]]
    assert cued and all(row["events"][0]["event"] == row["labels"]["event"] for row in cued)
    assert export_dialogues(tmp_path / "out/corpus", tmp_path / "dialogues.jsonl") == len(kept)
