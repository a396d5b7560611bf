"""The tiny OSUM-EChat computes what the original computes, in its three layouts that answer in text (golden).

The tracked state dict is cut down (fixtures/make_golden.py): of the 151,936 text rows it holds those that are read
here, so each log-sum-exp over the vocabulary is the stored one and the loss is composed with it.
"""

import pytest
import torch
from torch import Tensor
from transformers import BatchFeature

from osum.checkpoints.convert.release import ECHAT
from osum.model import OsumForConditionalGeneration, OsumProcessor

from .golden import echat_model, tensors
from .tiny import QWEN_CONTROL_IDS, byte_tokenizer

UNKNOWN_ID = 7672
"""`&&`: leaves attention and loss."""
ANSWERS = ("<think>calm voice<think end>hello there<&&>", "yes ok")
SYSTEM_PROMPTS = {
    "text": ECHAT.system_prompt,
    "s2t_chat": (
        "You are OSUM-chat, a speech-to-text dialogue assistant by ASLP Lab. You understand both the meaning and "
        "paralinguistic cues in speech then respond exclusively with appropriate text."
    ),
    "text2text": (
        "You are OSUM-chat, a text-to-text dialogue assistant by ASLP Lab. You understand user input in text then "
        "respond exclusively with appropriate text."
    ),
}
HEARS = {"text": True, "s2t_chat": True, "text2text": False}
READS = {"text": True, "s2t_chat": False, "text2text": True}


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return tensors("echat")


@pytest.fixture(scope="module")
def model() -> OsumForConditionalGeneration:
    return echat_model()


@pytest.fixture(scope="module")
def processor(model: OsumForConditionalGeneration) -> OsumProcessor:
    tokenizer = byte_tokenizer(QWEN_CONTROL_IDS, words={"&&": UNKNOWN_ID})
    return OsumProcessor.for_config(model.config, tokenizer, ECHAT.answer_end_token_id)


def row_inputs(processor: OsumProcessor, golden: dict[str, Tensor], layout: str, row: int) -> BatchFeature:
    """Inputs of one conversation of the golden batch, the unknown mark out of attention and loss."""
    prompt = bytes(golden["batch_prompt"][row, : golden["batch_prompt_lengths"][row]].tolist()).decode()
    parts = [{"type": "text", "text": prompt}] * READS[layout] + [{"type": "audio"}] * HEARS[layout]
    text = processor.render([{"role": "system", "content": SYSTEM_PROMPTS[layout]}, {"role": "user", "content": parts}])
    features = [golden["batch_feats"][row, : golden["batch_feats_lengths"][row]].T] * HEARS[layout]
    inputs = processor.batch([text], features, answers=[ANSWERS[row]])
    unknown = inputs["input_ids"] == UNKNOWN_ID
    inputs["attention_mask"][unknown] = 0
    inputs["labels"][unknown] = -100
    inputs["input_ids"][unknown] = 0  # the original reads its padding id there, and scores the `>` that follows
    return inputs


@torch.no_grad()
def both_rows(model: object, processor: OsumProcessor, golden: dict[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Attended embeddings and states, and the states that predict scored labels, of both rows joined."""
    found: dict[str, list[Tensor]] = {"embeddings": [], "hidden": [], "scored": [], "labels": []}
    for row in range(2):
        inputs = row_inputs(processor, golden, layout, row)
        labels = inputs.pop("labels")[0]
        attended = inputs["attention_mask"][0].bool()
        audio = {name: inputs.get(name) for name in ("input_features", "feature_attention_mask")}
        found["embeddings"].append(model.model.embed_inputs(inputs["input_ids"], **audio)[0][attended])
        hidden = model.model(**inputs).last_hidden_state[0]
        found["hidden"].append(hidden[attended])
        found["scored"].append(hidden[:-1][labels[1:] != -100])
        found["labels"].append(labels[labels != -100])
    return {name: torch.cat(parts) for name, parts in found.items()}


@pytest.fixture(scope="module", params=list(SYSTEM_PROMPTS))
def layout(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def ours(model: object, processor: OsumProcessor, golden: dict[str, Tensor], layout: str) -> dict[str, Tensor]:
    return both_rows(model, processor, golden, layout)


def largest_difference(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return (one - other).abs().max().item()


@torch.no_grad()
@pytest.mark.parametrize("row", [0, 1])
def test_the_audio_tower_is_the_originals(
    model: OsumForConditionalGeneration, golden: dict[str, Tensor], row: int
) -> None:
    features = golden["batch_feats"][row, : golden["batch_feats_lengths"][row]].T[None]
    encoded = model.model.audio_tower(features, torch.tensor([features.shape[-1]]))[0]
    projected = model.get_audio_features(features)[0]
    assert largest_difference(encoded, golden["encoder_out"][row, : len(encoded)]) < 1e-5
    assert largest_difference(projected, golden["speech_embeds"][row, : len(projected)]) < 1e-5


def test_the_input_embeddings_are_the_originals(
    ours: dict[str, Tensor], golden: dict[str, Tensor], layout: str
) -> None:
    assert largest_difference(ours["embeddings"], golden[f"{layout}_inputs_embeds"]) < 1e-5


def test_the_scored_labels_are_the_originals(ours: dict[str, Tensor], golden: dict[str, Tensor], layout: str) -> None:
    assert ours["labels"].tolist() == golden[f"{layout}_labels"].tolist()


def test_the_hidden_states_are_the_originals(ours: dict[str, Tensor], golden: dict[str, Tensor], layout: str) -> None:
    assert largest_difference(ours["hidden"], golden[f"{layout}_hidden_last"]) < 1e-4


def test_the_text_logits_are_the_originals(
    model: OsumForConditionalGeneration, ours: dict[str, Tensor], golden: dict[str, Tensor], layout: str
) -> None:
    logits = ours["scored"] @ model.lm_head.weight.detach()[:64].T
    assert largest_difference(logits, golden[f"{layout}_text_logits_first64"]) < 1e-3


def test_the_speech_logits_are_the_originals(
    model: OsumForConditionalGeneration, ours: dict[str, Tensor], golden: dict[str, Tensor], layout: str
) -> None:
    logits = model.speech_head(ours["scored"]).detach()[:, ::64]
    assert largest_difference(logits, golden[f"{layout}_speech_logits_every64"]) < 1e-3


def test_the_loss_is_the_originals(
    model: OsumForConditionalGeneration, ours: dict[str, Tensor], golden: dict[str, Tensor], layout: str
) -> None:
    answered = (ours["scored"] * model.lm_head.weight.detach()[ours["labels"]]).sum(-1)
    loss = (golden[f"{layout}_text_logits_logsumexp"] - answered).mean()
    assert loss.item() == pytest.approx(golden[f"{layout}_loss"].item(), rel=1e-5)


def test_the_logits_are_as_wide_as_both_vocabularies(model: OsumForConditionalGeneration) -> None:
    with torch.no_grad():
        logits = model.compute_logits(torch.zeros(1, 32))
    assert logits.shape == (1, 151_936 + 4097) == (1, model.config.vocab_size)
