"""OSUM-EChat against the golden values of the original: all layouts, all modes of decoding.

The fixture holds the whole state dict but for adaptor units that never fire and text rows that no test reads: each
log-sum-exp over the text vocabulary is the stored one. benchmarks/echat_parity.py compares all values, gradients too.
"""

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from osum.model import OsumForConditionalGeneration, OsumProcessor

from .golden import arrays, echat_model, tensors
from .golden_echat import GENERATIONS, LAYOUTS, Forward, decode, head_of, processor_of, prompt_of, released_ids

TEXT_ALONE = ("text", "s2t_chat", "text2text")
"""Layouts whose labels and scores are stored."""
SCORED = ("s2t_chat_think", "tts", "s2s_think", "s2s_turn2")


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return tensors("echat")


@pytest.fixture(scope="module")
def model() -> OsumForConditionalGeneration:
    return echat_model()


@pytest.fixture(scope="module")
def processor(model: OsumForConditionalGeneration) -> OsumProcessor:
    return processor_of(model)


def forward_of(layout: str, processor: OsumProcessor) -> Forward:
    stored = arrays("echat")
    history = json.loads(str(stored["history"])) if layout.endswith("history") else []
    return Forward(layout, {**stored, "meta": json.dumps({"history": history})}, processor)


@pytest.fixture(scope="module", params=list(LAYOUTS))
def layout(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
@torch.no_grad()
def ours(model: OsumForConditionalGeneration, processor: OsumProcessor, layout: str) -> dict[str, Tensor]:
    """Our batch: embeddings and states of attended positions; of each position before one, its state and next label."""
    batch = forward_of(layout, processor).batch()
    mask, labels = batch["attention_mask"].bool(), batch["labels"]
    before = mask.roll(-1, 1)
    before[:, -1] = False
    audio = {name: batch.get(name) for name in ("input_features", "feature_attention_mask")}
    hidden = model.model(**{name: value for name, value in batch.items() if name != "labels"}).last_hidden_state
    return {
        "embeddings": model.model.embed_inputs(batch["input_ids"], **audio)[mask],
        "hidden": hidden[mask],
        "before": hidden[before],
        "next": labels.roll(-1, 1)[before],
        "speaks": torch.tensor(bool((labels >= model.num_text_ids).any())),
    }


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


def test_the_hidden_states_are_the_originals(ours: dict[str, Tensor], golden: dict[str, Tensor], layout: str) -> None:
    assert largest_difference(ours["hidden"], golden[f"{layout}_hidden_last"]) < 1e-4


def test_the_loss_is_the_originals(
    model: OsumForConditionalGeneration, ours: dict[str, Tensor], golden: dict[str, Tensor], layout: str
) -> None:
    scored = ours["next"] != -100
    states, labels = ours["before"][scored], ours["next"][scored]
    with torch.no_grad():
        speech = model.speech_head(states)
        rows = torch.cat([model.lm_head.weight, model.speech_head.weight])
        offsets = torch.cat([torch.zeros(model.num_text_ids), model.speech_head.bias])
        answered = (states * rows[labels]).sum(-1) + offsets[labels]
    total = golden[f"{layout}_text_logits_logsumexp"][scored]
    total = torch.logaddexp(total, speech.logsumexp(-1)) if ours["speaks"] else total
    assert (total - answered).mean().item() == pytest.approx(golden[f"{layout}_loss"].item(), rel=1e-5)


@pytest.mark.parametrize("layout", TEXT_ALONE, indirect=True)
def test_the_scored_labels_are_the_originals(ours: dict[str, Tensor], golden: dict[str, Tensor], layout: str) -> None:
    assert ours["next"][ours["next"] != -100].tolist() == golden[f"{layout}_labels"].tolist()


@pytest.mark.parametrize("layout", TEXT_ALONE, indirect=True)
def test_the_text_logits_are_the_originals(
    model: OsumForConditionalGeneration, ours: dict[str, Tensor], golden: dict[str, Tensor], layout: str
) -> None:
    logits = ours["before"][ours["next"] != -100] @ model.lm_head.weight.detach()[:64].T
    assert largest_difference(logits, golden[f"{layout}_text_logits_first64"]) < 1e-3


@pytest.mark.parametrize("layout", TEXT_ALONE, indirect=True)
def test_the_speech_logits_are_the_originals(
    model: OsumForConditionalGeneration, ours: dict[str, Tensor], golden: dict[str, Tensor], layout: str
) -> None:
    logits = model.speech_head(ours["before"][ours["next"] != -100]).detach()[:, ::64]
    assert largest_difference(logits, golden[f"{layout}_speech_logits_every64"]) < 1e-3


@pytest.fixture(scope="module", params=list(GENERATIONS))
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def decoded(
    model: OsumForConditionalGeneration, processor: OsumProcessor, golden: dict[str, Tensor], mode: str
) -> tuple[Tensor, Any]:
    """Prompt ids (1, L) and what stock `generate` says behind the golden embeddings."""
    embeddings = golden[f"generate_{mode}_inputs_embeds"]
    first_turn = golden["generate_s2s_turn1_ids"][0].tolist()
    prompt = prompt_of(mode, embeddings.shape[1], first_turn, processor)
    return prompt, decode(mode, prompt, embeddings, model, processor)


def test_the_prompt_of_a_mode_is_the_originals(
    model: OsumForConditionalGeneration, golden: dict[str, Tensor], decoded: tuple[Tensor, Any], mode: str
) -> None:
    prompt, _ = decoded
    known = prompt != model.config.audio_token_id
    embedded = model.model.embed_ids(prompt)[known].detach()
    assert largest_difference(embedded, golden[f"generate_{mode}_inputs_embeds"][known]) < 1e-5


def test_the_ids_of_a_mode_are_the_originals(
    processor: OsumProcessor, golden: dict[str, Tensor], decoded: tuple[Tensor, Any], mode: str
) -> None:
    prompt, output = decoded
    assert released_ids(output, prompt, processor) == golden[f"generate_{mode}_ids"][0].tolist()


@pytest.mark.parametrize("mode", SCORED, indirect=True)
def test_the_scores_of_each_step_are_the_originals(
    model: OsumForConditionalGeneration, golden: dict[str, Tensor], decoded: tuple[Tensor, Any], mode: str
) -> None:
    _, output = decoded
    for step, logits in enumerate(output.logits):
        every = golden[f"generate_{mode}_step{step:02d}_logits_every64"].float()[0]
        width = model.num_text_ids if len(every) > 65 else model.config.num_speech_ids
        assert largest_difference(head_of(logits, width, model)[::64], every) < 2e-3


def test_the_logits_are_as_wide_as_both_vocabularies(model: OsumForConditionalGeneration) -> None:
    with torch.no_grad():
        logits = model.compute_logits(torch.zeros(1, 32))
    assert logits.shape == (1, 151_936 + 4097) == (1, model.config.vocab_size)
