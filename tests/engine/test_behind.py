"""A given transcript: what stands behind it is scored as where the model has decoded that text, in one pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model.tiny import LAYOUTS, VOCAB_SIZE, answer_end, byte_tokenizer, tiny_config

import osum
from engine.test_engine import BEAMS, MOODS, alone, ask, check_same, check_scores, free, replies, request
from engine.tiny_checkpoint import CLIPS, checkpoint_of
from osum.audio import load
from osum.checkpoints.checkpoint import Checkpoint
from osum.engine.engine import Engine, EngineCounts
from osum.engine.request import Ask, Request
from osum.model import OsumProcessor
from osum.tasks import OSUM

SAMPLES = Path(__file__).parents[2] / "samples"
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="<>"), max_size=12)
LABELLED = ("VED", "SER", "SGC", "SAP+SGC", "SER-only", "SAP+SGC-only")


def behind(asked: Ask, text: str) -> Ask:
    return replace(asked, given=text)


@given(text=TEXTS, layout=st.sampled_from(LAYOUTS), clip=st.integers(0, len(CLIPS) - 1))
@settings(max_examples=15)
def test_labels_are_scored_behind_any_text_as_by_one_full_pass_each(text: str, layout: str, clip: int) -> None:
    engine = Engine(checkpoint_of(layout))
    asks = [behind(ask(engine, name), text) for name in ("SER", "SAP+SGC", "SER-only")]
    (found,) = replies(engine, request(engine, clip, [*asks, behind(Ask(asks[0].text, 8, MOODS), text)]))
    for asked, reply in zip(asks, found, strict=False):
        assert asked.task is not None
        assert reply.text.startswith(text if asked.task.transcript == "plain" else "<")
        check_scores(engine, clip, asked, reply)
        assert len(reply.log_probs) == len(reply.ids)


def test_the_scores_are_those_of_the_model_that_has_decoded_the_text(engine: Engine) -> None:
    for name in ("VED", "SER", "SGC"):
        asked = ask(engine, name)
        decoded = alone(engine, 2, asked)
        assert asked.task is not None
        scored = alone(engine, 2, behind(asked, asked.task.transcript_of(decoded.text)))
        assert decoded.scores.keys() == scored.scores.keys()
        for labels, values in decoded.scores.items():
            assert scored.scores[labels] == pytest.approx(values, abs=1e-3)
        assert scored.empty == pytest.approx(decoded.empty, abs=1e-5)


def test_an_empty_text_is_one_of_silence(engine: Engine) -> None:
    asked = ask(engine, "ASR")
    reply = alone(engine, 0, behind(asked, ""))
    assert (reply.text, reply.ids, reply.log_probs) == ("", (), ())
    assert reply.empty == pytest.approx(alone(engine, 0, asked).empty, abs=1e-5)
    check_scores(engine, 0, ask(engine, "SER"), alone(engine, 0, behind(ask(engine, "SER"), "")))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tag_may_melt_into_the_text_and_into_the_tag_before_it(layout: str) -> None:
    config = tiny_config(layout)
    config.text_config.vocab_size = VOCAB_SIZE
    melting = {"b<": 259, "><": 260}
    processor = OsumProcessor.for_config(config, byte_tokenizer(words=melting), answer_end(layout))
    engine = Engine(Checkpoint("melting", "1", checkpoint_of(layout).model, processor, OSUM))
    for name in ("SER", "SAP+SGC"):
        asked = behind(ask(engine, name), "ab")
        reply = alone(engine, 0, asked)
        assert 259 in reply.ids and (260 in reply.ids) == (name == "SAP+SGC")
        assert list(reply.ids) == processor.text_ids(reply.text) and len(reply.log_probs) == len(reply.ids)
        check_scores(engine, 0, asked, reply)


def test_nothing_is_decoded(engine: Engine) -> None:
    engine.counts = EngineCounts()
    asks = [behind(ask(engine, name), "good morning") for name in ("ASR", "VED", "SER", "SGC", "SER-only")]
    replies(engine, request(engine, 0, asks))
    assert engine.counts.passes == 1


def test_the_company_changes_no_answer(engine: Engine) -> None:
    """Beside questions that are decoded, searched or free, about this and other clips."""
    asks = [behind(ask(engine, name), "good") for name in LABELLED]
    others = [ask(engine, "ASR"), ask(engine, "SER"), ask(engine, "SGC", 5, BEAMS), free(engine, "what?", 4)]
    (found, _) = replies(engine, request(engine, 0, [*others[:2], *asks, *others[2:]]), request(engine, 1, asks))
    for asked, reply in zip([*others[:2], *asks, *others[2:]], found, strict=True):
        check_same(reply, alone(engine, 0, asked))


def test_a_reply_is_decoded_behind_the_text_as_behind_the_own(engine: Engine) -> None:
    asked = ask(engine, "STTC", 5)
    reply = alone(engine, 0, behind(asked, "good"))
    assert asked.task is not None
    prefix = "good<开始回答>"
    assert reply.text.startswith(prefix) and len(reply.log_probs) == len(reply.ids)
    assert alone(engine, 0, Ask(asked.text + prefix, 5)).text == reply.text.removeprefix(prefix)


def test_a_text_longer_than_the_model_takes_is_refused(engine: Engine) -> None:
    limit = engine.model.config.text_config.max_position_embeddings
    (result,) = engine.run([request(engine, 0, [behind(ask(engine, "SER"), "a" * limit)])])
    assert "this model takes less than" in (result.error or "")


def test_the_packaged_model_answers_behind_its_own_texts_as_it_answers() -> None:
    """Every task that says what the transcript says, and whose tag is the likeliest, gives the same ids."""
    nano = osum.load("nano", device="cpu", dtype="float32")
    engine, language = nano.engine, nano.tasks.languages[0]
    tasks = [task for task in nano.tasks.main if task.transcript == "plain" and not task.reply]
    asks = tuple(Ask(engine.processor.request(nano.tasks.prompt(task, language)), 80, task) for task in tasks)
    same = 0
    for name in ("zh_sentence_2.flac", "laugh_1.flac", "en_child_boy.flac"):
        clip = (engine.processor.log_mel(load(SAMPLES / name)),)
        (decoded,) = replies(engine, Request(0, clip, asks))
        texts = [task.transcript_of(reply.text) for task, reply in zip(tasks, decoded, strict=True)]
        (scored,) = replies(engine, Request(0, clip, tuple(map(behind, asks, texts))))
        for one, other in zip(decoded, scored, strict=True):
            assert {name: pytest.approx(values, abs=1e-3) for name, values in one.scores.items()} == other.scores
            assert other.empty == pytest.approx(one.empty, abs=1e-5)
            if one.text == other.text:
                check_same(other, one)
                same += 1
    assert same > 2 * len(tasks), "these clips show hardly an answer whose tag is the likeliest"
