"""Spoken empathetic dialogues whole: seeds, words by a language model, checks, a voice, the reply as codes, rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from peers.llm_server import Says, completion, running
from speech.releases import write_release

from osum.cli import main
from osum.corpus.dialogue_forms import read_dialogues
from osum.corpus.readers import Line
from osum.errors import RecipeError
from osum.pipeline.exports import export_dialogues
from osum.pipeline.row import DropError, Row
from osum.pipeline.run import run
from osum.pipeline.steps.empathy import CUES, WriteDialogue, WriteDialogueOptions, seeds
from osum.pipeline.steps.writing import EndpointOptions, prompt_named
from pipeline.speech_server import speaking
from pipeline.stage import plan, rows_of


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    release = write_release(tmp_path_factory.mktemp("release"))
    model = tmp_path_factory.mktemp("speech") / "model"
    assert main(["convert", str(release), str(model)]) == 0
    return model


def writer(body: dict[str, Any]) -> Says:
    """Writes; every fourth seed badly, and judges the word `bus` badly."""
    said = body["messages"][1]["content"]
    if "Reply:" in said:
        return completion({"score": 2 if "bus" in said else 5})
    number = sum(map(ord, re.findall(r"Topic: (.*)", said)[0])) % 4
    if number == 0:
        return completion({"user": "Hi.", "thought": "A thought.", "reply": "I am ChatGPT.", "emotion": "中立"})
    user = "The bus did not come." if number % 2 else "Guess what happened today."
    reply = "That must have been hard. Do you want to tell me more?"
    return completion({"user": user, "thought": "The voice sounds low.", "reply": reply, "emotion": "安慰鼓励"})


def test_seeds_become_dialogues_that_training_reads(tmp_path: Path, tokenizer: Path) -> None:
    lines = [Line(seed.id, seed) for seed in seeds(16, "en")]
    with running() as llm, speaking() as tts:
        llm.answer = writer
        endpoint = {"url": llm.url, "model": "stub", "parallel": 2, "patience": 2}
        voices = {"anna": "female", "bob": "male"}
        synthesizer = {"kind": "endpoint", "url": tts.url, "model": "tts", "voices": voices, "instruct": True}
        steps = [
            {"write_dialogue": {"endpoint": endpoint}},
            {"judge_dialogue": {"endpoint": endpoint}},
            {"speak": {"synthesizer": synthesizer}},
            {"reply_codes": {"tokenizer": str(tokenizer), "synthesizer": synthesizer}},
        ]
        summary = run(plan(*steps), lines, tmp_path / "out")
        moods = {body.get("instructions") for body in tts.asked}
    dropped = {why: count for _, tally in summary.steps for why, count in tally.dropped.items()}
    assert set(dropped) == {"reply names an assistant", "judged badly"}
    assert summary.kept.rows_out == 16 - sum(dropped.values()) > 0
    assert len(moods) > 2
    count = export_dialogues(tmp_path / "out/corpus", tmp_path / "dialogues.jsonl")
    found = list(read_dialogues(tmp_path / "dialogues.jsonl"))
    assert count == len(found) == summary.kept.rows_out
    for dialogue in found:
        assert dialogue.stream == "s2s" and dialogue.reply.thought == "The voice sounds low."
        assert dialogue.reply.emotion == "安慰鼓励" and len(dialogue.reply.codes) > 2
        assert set(dialogue.question.labels) <= set(CUES) and dialogue.question.labels
        assert dialogue.question.audio is not None and dialogue.question.duration
        assert len(dialogue.clips) == 1
    for row in rows_of(tmp_path / "out"):
        assert {"text", "reply", "reply_emotion"} <= set(row["provenance"])


def test_equal_seeds_are_equal_and_carry_one_or_several_cues() -> None:
    found = list(seeds(200, "zh", 3))
    assert found == list(seeds(200, "zh", 3)) != list(seeds(200, "zh", 4))
    assert {len(seed.labels) for seed in found} == {1, 2} and len({seed.id for seed in found}) == 200
    assert {cue for seed in found for cue in seed.labels} == set(CUES)
    assert all(seed.extra["topic"] and seed.extra["persona"] for seed in found)
    with pytest.raises(RecipeError, match="no topics in language 'fr'"):
        next(seeds(1, "fr"))


@pytest.mark.parametrize("part", ["user", "thought", "reply"])
def test_a_dialogue_in_another_language_than_its_seed_is_left_out(part: str) -> None:
    step = WriteDialogue(WriteDialogueOptions(EndpointOptions("stub", "http://127.0.0.1:1/v1")))
    (seed,) = seeds(1, "en")
    answer = {"user": "Guess what.", "thought": "The voice is low.", "reply": "Tell me.", "emotion": "中立"}
    assert step.apply(Row(seed), answer).utterance.reply == "Tell me."
    with pytest.raises(DropError, match=f"{part} in another language"):
        step.apply(Row(seed), {**answer, part: "今天天气很好。"})


@pytest.mark.parametrize("name", ["dialogue", "judge"])
def test_the_prompts_are_there_in_both_languages(name: str) -> None:
    for language in ("en", "zh"):
        assert "{cues}" in prompt_named(name, language).user
