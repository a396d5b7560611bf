"""One answer by many ways: alone or batched, cached or not, greedy or looked up (equivalence)."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BatchFeature

from osum.model import OsumForConditionalGeneration, OsumProcessor

from .tiny import LAYOUTS, noise, tiny_model, tiny_processor

CLIPS = [noise(16_000, seed=1), noise(9_999, seed=2), noise(23_456, seed=3), noise(16_800, seed=4)]
"""100, 62, 146 and 105 frames: even and odd, of every remainder that the strides can leave."""
QUESTIONS = ["what", "say it all", "x", "who is it"]
pytestmark = pytest.mark.parametrize("layout", LAYOUTS)


@pytest.fixture
def model(layout: str) -> OsumForConditionalGeneration:
    return tiny_model(layout)


@pytest.fixture
def processor(layout: str) -> OsumProcessor:
    return tiny_processor(layout)


def inputs_of(processor: OsumProcessor, rows: list[int], **options: Any) -> BatchFeature:
    return processor(
        text=[processor.request(QUESTIONS[row]) for row in rows], audio=[CLIPS[row] for row in rows], **options
    )


def answer(model: OsumForConditionalGeneration, inputs: BatchFeature, **options: Any) -> list[list[int]]:
    """New ids, 12 at most, whatever they are."""
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, **options}
    return model.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :].tolist()


@torch.no_grad()
def test_a_clip_has_the_same_logits_alone_and_in_any_batch(model: Any, processor: OsumProcessor, layout: str) -> None:
    together = model(**inputs_of(processor, [0, 1, 2, 3])).logits
    for row in range(4):
        alone = model(**inputs_of(processor, [row])).logits[0]
        assert (together[row, -len(alone) :] - alone).abs().max() < 1e-4


@torch.no_grad()
def test_the_side_of_the_padding_changes_nothing(model: Any, processor: OsumProcessor, layout: str) -> None:
    left = inputs_of(processor, [0, 1])
    right = inputs_of(processor, [0, 1], padding_side="right")
    logits = [model(**inputs).logits[inputs["attention_mask"].bool()] for inputs in (left, right)]
    assert (logits[0] - logits[1]).abs().max() < 1e-4


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_clip_has_the_same_answer_alone_and_in_any_batch(
    model: Any, processor: OsumProcessor, layout: str, num_beams: int
) -> None:
    together = answer(model, inputs_of(processor, [0, 1, 2, 3]), num_beams=num_beams)
    assert together == [answer(model, inputs_of(processor, [row]), num_beams=num_beams)[0] for row in range(4)]


def test_the_answers_depend_on_the_clip(model: Any, processor: OsumProcessor, layout: str) -> None:
    text = [processor.request("what")] * 2
    assert len({tuple(ids) for ids in answer(model, processor(text=text, audio=CLIPS[:2]))}) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"use_cache": False},
        {"cache_implementation": "static"},
        {"prompt_lookup_num_tokens": 3},
        {"num_beams": 1, "min_new_tokens": 1},
        {"repetition_penalty": 1.0},
    ],
    ids=lambda options: next(iter(options)),
)
def test_every_way_to_decode_greedily_gives_one_answer(
    model: Any, processor: OsumProcessor, layout: str, options: dict[str, Any]
) -> None:
    inputs = inputs_of(processor, [3])
    assert answer(model, inputs, **options) == answer(model, inputs)


@torch.no_grad()
def test_a_cached_step_has_the_logits_of_the_whole(model: Any, processor: OsumProcessor, layout: str) -> None:
    inputs = inputs_of(processor, [0], answers=["yes"])
    whole = model(**inputs).logits
    prompt = {**inputs, "input_ids": inputs["input_ids"][:, :-2], "attention_mask": inputs["attention_mask"][:, :-2]}
    prompt.pop("labels")
    cache = model(**prompt, use_cache=True).past_key_values
    step = model(input_ids=inputs["input_ids"][:, -2:], past_key_values=cache).logits
    assert (step - whole[:, -2:]).abs().max() < 1e-4


@torch.no_grad()
def test_embeddings_given_by_the_caller_are_the_ids(model: Any, processor: OsumProcessor, layout: str) -> None:
    inputs = inputs_of(processor, [0, 1])
    mask = inputs.pop("attention_mask")
    embeddings = model.model.embed_inputs(**inputs)
    logits = model(inputs_embeds=embeddings, attention_mask=mask).logits
    assert torch.equal(logits, model(**inputs, attention_mask=mask).logits)


@torch.no_grad()
def test_only_the_asked_logits_are_computed(model: Any, processor: OsumProcessor, layout: str) -> None:
    inputs = inputs_of(processor, [0])
    last = model(**inputs, logits_to_keep=1).logits
    assert last.shape[1] == 1
    assert (last - model(**inputs).logits[:, -1:]).abs().max() < 1e-5


def test_eager_and_sdpa_attention_agree(model: Any, processor: OsumProcessor, layout: str) -> None:
    inputs = inputs_of(processor, [0, 1])
    with torch.no_grad():
        sdpa = model(**inputs).logits
        model.set_attn_implementation("eager")
        eager = model(**inputs).logits
    real = inputs["attention_mask"].bool()
    assert (sdpa - eager)[real].abs().max() < 1e-4


@torch.no_grad()
def test_a_repetition_penalty_counts_the_answer_alone(model: Any, processor: OsumProcessor, layout: str) -> None:
    inputs = inputs_of(processor, [0])
    ids = answer(model, inputs, max_new_tokens=1, repetition_penalty=50.0)
    assert ids == answer(model, inputs, max_new_tokens=1)


def grads(model: OsumForConditionalGeneration, inputs: BatchFeature) -> dict[str, Tensor]:
    model.zero_grad()
    model(**inputs).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_gradient_checkpointing_gives_the_same_gradient(model: Any, processor: OsumProcessor, layout: str) -> None:
    inputs = inputs_of(processor, [0, 1], answers=["yes", "no it is"], padding_side="right")
    for config in (model.config.audio_config, model.config.adaptor_config):
        config.dropout = 0.0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    plain = grads(model.train(), inputs)
    model.activation_checkpointing_enable()
    again = grads(model, inputs)
    assert plain.keys() == again.keys()
    assert any("audio_tower" in name for name in plain)
    assert all(torch.allclose(plain[name], again[name], atol=1e-6) for name in plain)


@torch.no_grad()
def test_the_loss_is_divided_by_the_items_of_the_whole_batch(model: Any, processor: OsumProcessor, layout: str) -> None:
    rows = [inputs_of(processor, [row], answers=[text]) for row, text in ((0, "yes"), (1, "no it is"))]
    both = inputs_of(processor, [0, 1], answers=["yes", "no it is"])
    items = int((both["labels"] != -100).sum())
    parts = sum(model(**row, num_items_in_batch=items).loss for row in rows)
    assert parts.item() == pytest.approx(model(**both).loss.item(), rel=1e-5)
    assert parts.item() == pytest.approx(model(**both, num_items_in_batch=items).loss.item(), rel=1e-5)


@torch.no_grad()
def test_bf16_runs_and_stays_close(model: Any, processor: OsumProcessor, layout: str) -> None:
    inputs = inputs_of(processor, [0, 1], answers=["yes", "no"])
    exact = model(**inputs).loss.item()
    model = model.to(torch.bfloat16)
    assert model(**inputs).loss.item() == pytest.approx(exact, rel=0.05)
    assert len(answer(model, {k: v for k, v in inputs.items() if k != "labels"})) == 2
