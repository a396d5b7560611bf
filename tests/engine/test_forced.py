"""Word times of a known text: the words are fixed, the digits are those the model finds likeliest."""

from __future__ import annotations

import math
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model.tiny import tiny_processor
from torch import Tensor

from engine.test_engine import alone, ask, features, replies, request
from osum.engine.engine import Engine
from osum.engine.forced import Forced
from osum.engine.request import Ask, Request
from osum.errors import LayoutError
from osum.tasks import OSUM

WORDS = (("good", "morning"), ("no",) * 6, ("新", "年", "ok", "7"), ("well known",))
SRWT = OSUM["SRWT"]


def forced(engine: Engine, words: tuple[str, ...], limit: int = 400) -> Ask:
    return Ask(engine.processor.request(OSUM.prompt(SRWT, "en")), limit, SRWT, words=words)


@torch.no_grad()
def naive(engine: Engine, clip: int, words: tuple[str, ...]) -> str:
    """The answer by a whole pass for each id, and rules of its own for what may come next."""
    processor, model = engine.processor, engine.model
    (mel,) = features(engine, clip)
    sound = model.get_audio_features(mel[None], torch.ones(1, mel.shape[-1], dtype=torch.long))[0]
    ids = processor.joint_ids(processor.request(OSUM.prompt(SRWT, "en")), [len(sound)])

    def best(answer: str, choices: str) -> str:
        row = torch.tensor([[*ids, *processor.text_ids(answer)]])
        embeds = model.model.embed_ids(row)
        embeds[row == processor.audio_token_id] = sound
        logits: Tensor = model(inputs_embeds=embeds).logits[0, -1]
        return max(choices, key=lambda sign: logits[processor.text_ids(sign)[0]].item())

    answer = ""
    for at in range(2 * len(words)):
        time, answer = "", answer + (f">{words[at // 2]}<" if at % 2 else "><" if at else "<")
        while True:
            whole, point, decimals = time.partition(".")
            digits = "" if (time == "0" or len(whole) == 4) and not point else "0123456789"
            choices = digits + ("" if point or not whole else ".") + (">" if decimals else "")
            sign = best(answer + time, ">" if len(decimals) == 2 else choices)
            if sign == ">":
                break
            time += sign
        answer += time
    return answer + ">"


@pytest.mark.parametrize("words", WORDS)
def test_a_forced_answer_is_that_of_a_pass_for_each_id(engine: Engine, words: tuple[str, ...]) -> None:
    reply = alone(engine, 1, forced(engine, words))
    assert (reply.text, reply.ended) == (naive(engine, 1, words), True)
    assert [word.text for word in SRWT.parse(reply.text).words] == list(words)


def test_a_forced_answer_is_the_same_next_to_other_questions_and_clips(engine: Engine) -> None:
    asks = [forced(engine, words) for words in WORDS]
    together = replies(engine, *(request(engine, clip, [*asks, ask(engine, "ASR")]) for clip in range(3)))
    for asked, found in zip(asks, together[2], strict=False):
        single = alone(engine, 2, asked)
        assert (found.ids, found.ended) == (single.ids, True)
        assert found.log_probs == pytest.approx(single.log_probs, abs=1e-3)


def test_guesses_save_passes(engine: Engine) -> None:
    before = engine.counts.passes
    reply = alone(engine, 0, forced(engine, ("a rather long word",) * 4))
    assert engine.counts.passes - before < len(reply.ids) / 2


def test_a_limit_cuts_a_forced_answer(engine: Engine) -> None:
    reply = alone(engine, 0, forced(engine, ("good", "morning"), limit=5))
    assert (len(reply.ids), reply.ended) == (5, False)


@given(
    st.lists(st.text("ab7.'新 ", min_size=1, max_size=5).map(str.strip).filter(bool), min_size=1, max_size=5),
    st.integers(0, 9999),
)
def test_whatever_the_scores_the_answer_reads_back_as_its_words(words: list[str], seed: int) -> None:
    processor = tiny_processor("speech_first")
    pick = Forced(words, processor.text_ids, processor.answer_end_token_id)
    ids, random = list[int](), Random(seed)
    while not ids or ids[-1] != processor.answer_end_token_id:
        pick.guess()
        ids.append(pick(ids, torch.tensor([random.random() for _ in range(300)])))
        assert len(ids) <= pick.longest
    found = SRWT.parse(processor.decode(ids)).words
    assert "".join(word.text for word in found).replace(" ", "") == "".join(words).replace(" ", "")
    assert all(math.isfinite(time) and time < 1e4 for word in found for time in (word.start, word.end))


def test_a_tokenizer_without_digits_is_refused() -> None:
    with pytest.raises(LayoutError, match="one id a digit"):
        Forced(("a",), lambda text: list(text.encode()) * 2, 0)


def test_a_request_may_force_one_question_and_not_the_other(engine: Engine) -> None:
    asks = (forced(engine, ("good",)), ask(engine, "SRWT", limit=6))
    (result,) = engine.run([Request(0, features(engine, 0), asks)])
    assert result.replies[1].ids == alone(engine, 0, asks[1]).ids
    assert result.replies[0].ids != result.replies[1].ids
