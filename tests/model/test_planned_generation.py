"""Plans inside the stock `generate`, on a tiny random model that writes and speaks."""

import pytest
import torch
from torch import Tensor

from osum.model import OsumForConditionalGeneration, OsumProcessor
from osum.model.answer_plan import AnswerPlan, AnswerProgress, CodesRepeat
from osum.model.spoken_answer import SpokenAnswer

from .tiny import CONTROL_IDS, answer_end, tiny_model, tiny_processor

END, PAD = answer_end("chatml"), CONTROL_IDS["<|endoftext|>"]


@pytest.fixture(scope="module")
def model() -> OsumForConditionalGeneration:
    return tiny_model("chatml")


@pytest.fixture(scope="module")
def processor() -> OsumProcessor:
    return tiny_processor("chatml")


def plan_of(processor: OsumProcessor, **changes: object) -> AnswerPlan:
    return AnswerPlan(processor.speech_ids, END, **{"speaks": True, **changes})


def answers(
    model: OsumForConditionalGeneration, processor: OsumProcessor, plan: AnswerPlan, prompts: list[str], **how: object
) -> list[list[int]]:
    inputs = processor([processor.render([{"role": "user", "content": prompt}]) for prompt in prompts])
    torch.manual_seed(0)
    ids = model.generate(**inputs, plan=plan, max_new_tokens=48, pad_token_id=PAD, **how)
    return ids[:, inputs["input_ids"].shape[1] :].tolist()


def followed(plan: AnswerPlan, answer: list[int]) -> list[AnswerProgress]:
    """Every step of an answer up to its end, each id checked to be one of its head's."""
    steps = [plan.begin()]
    for token in answer:
        if steps[-1].over:
            break
        assert (token >= plan.speech.first) == steps[-1].aloud
        said = answer[: len(steps) - 1]
        assert all(not limit.only or token in limit.only for limit in steps[-1].limits(said))
        steps.append(steps[-1].after(token))
    return steps


@pytest.mark.parametrize("how", [{"do_sample": False}, {"do_sample": True, "top_k": 9}, {"num_beams": 3}], ids=str)
@pytest.mark.parametrize("form", [{}, {"in_turns": True}, {"writes": False}, {"speaks": False}], ids=str)
def test_whatever_is_generated_keeps_to_the_plan(
    model: OsumForConditionalGeneration, processor: OsumProcessor, how: dict[str, object], form: dict[str, object]
) -> None:
    plan = plan_of(processor, **form)
    for answer in answers(model, processor, plan, ["hello", "how are you today"], **how):
        steps = followed(plan, answer)
        assert steps[-1].over or len(steps) == 49
        assert set(answer[len(steps) - 1 :]) <= {PAD}


def test_a_row_says_in_a_batch_what_it_says_alone(
    model: OsumForConditionalGeneration, processor: OsumProcessor
) -> None:
    plan, prompts = plan_of(processor), ["hello", "how are you today", "x"]
    together = answers(model, processor, plan, prompts)
    for prompt, answer in zip(prompts, together, strict=True):
        (alone,) = answers(model, processor, plan, [prompt])
        assert answer[: len(alone)] == alone and set(answer[len(alone) :]) <= {PAD}


def test_a_guard_keeps_codes_from_repeating(model: OsumForConditionalGeneration, processor: OsumProcessor) -> None:
    guard = CodesRepeat(processor.speech_ids, silence=5)
    guarded = plan_of(processor, writes=False, rules=(guard,))
    (answer,) = answers(model, processor, guarded, ["hello"])
    assert all(len(set(answer[at : at + 6])) > 1 for at in range(len(answer) - 6) if END not in answer)


def labelled(processor: OsumProcessor, answers: list[str | SpokenAnswer], **how: bool) -> tuple[Tensor, Tensor]:
    """Mask and labels of a batch of answers behind one short prompt."""
    inputs = processor.batch(["a"] * len(answers), [], answers, "right", **how)
    return inputs["attention_mask"][:, 1:], inputs["labels"][:, 1:]


def test_an_answer_is_learned_as_text_its_end_and_its_codes(processor: OsumProcessor) -> None:
    first, edge = processor.speech_ids.first, processor.speech_ids.edge
    _, labels = labelled(processor, [SpokenAnswer("hi", (3, 0))])
    assert labels[0].tolist() == [*b"hi", END, edge, first + 3, first, edge]


def test_texts_are_padded_before_their_speech_where_the_release_did(processor: OsumProcessor) -> None:
    said: list[str | SpokenAnswer] = [SpokenAnswer("hello", (1,)), SpokenAnswer("x", (2,))]
    mask, labels = labelled(processor, said, text_padding_quirk=True)
    assert mask[1].tolist() == [1, 1, 0, 0, 0, 0, 1, 1, 1]
    assert labels[1, 2:6].tolist() == [-100] * 4


def test_a_text_alone_is_scored_among_text_ids_alone(
    model: OsumForConditionalGeneration, processor: OsumProcessor
) -> None:
    """The loss of a silent row does not change with the speech head, whatever the row next to it says."""
    batch = processor.batch(["a", "b"], [], ["hi", SpokenAnswer("hi", (3,))], "right")
    silent = {name: value[:1] for name, value in batch.items()}
    with torch.no_grad():
        before = model(**silent).loss
        both = model(**batch).loss
        model.speech_head.bias += 3.0
        assert torch.equal(model(**silent).loss, before)
        assert not torch.equal(model(**batch).loss, both)
        model.speech_head.bias -= 3.0
