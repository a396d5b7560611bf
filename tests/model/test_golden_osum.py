"""The tiny OSUM computes what the original computes (golden)."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import WhisperFeatureExtractor

from model.golden import osum_meta, tensors, write_osum
from osum.checkpoints.convert import convert
from osum.model import OsumForConditionalGeneration, OsumProcessor

from .tiny import byte_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # in peft

CLIPS = (0, 1, 2)
ANSWER_END = 500


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return tensors("osum")


@pytest.fixture(scope="module", params=["merge", "keep"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> object:
    """The converted file, LoRA merged, or as a PEFT adapter."""
    folder: Path = tmp_path_factory.mktemp("osum")
    convert(write_osum(folder / "original"), folder / "ours", lora=request.param)
    base = OsumForConditionalGeneration.from_pretrained(folder / "ours")
    return base.eval() if request.param == "merge" else PeftModel.from_pretrained(base, folder / "ours" / "adapter")


@pytest.fixture(scope="module")
def processor(model: object) -> OsumProcessor:
    tokenizer = byte_tokenizer({"<|endoftext|>": 256, "<|im_start|>": 257, "<|im_end|>": 258})
    return OsumProcessor.for_config(model.config, tokenizer, answer_end_token_id=ANSWER_END)


@pytest.fixture(scope="module")
def base(model: object) -> OsumForConditionalGeneration:
    return model.get_base_model() if isinstance(model, PeftModel) else model


def inputs_of(processor: OsumProcessor, golden: dict[str, Tensor], clip: int, answered: bool) -> dict[str, Tensor]:
    """Inputs of one utterance, with its label ids where `answered`."""
    meta = osum_meta()
    text = processor.request(meta["prompts"][clip])
    inputs = dict(processor.batch([text], [golden[f"feat{clip}"].T]))
    if answered:
        label = torch.tensor([meta["labels"][clip]])
        inputs["labels"] = torch.cat([torch.full_like(inputs["input_ids"], -100), label], dim=1)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], label], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    return inputs


FEATURES = 1e-5
"""The stored features, float32, are up to 1.7e-5 from those in float64; another processor's FFT rounds otherwise: by
7.5e-6 on an AMD EPYC, by 1.2e-7 on the Intel Xeon of README's figures."""


def largest_difference(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return (ours - theirs).abs().max().item()


@pytest.mark.parametrize("clip", CLIPS)
def test_features_are_the_originals(processor: OsumProcessor, golden: dict[str, Tensor], clip: int) -> None:
    features = processor.log_mel(golden[f"wav{clip}"][0].numpy())
    assert largest_difference(features.T, golden[f"feat{clip}"]) < FEATURES


def test_features_are_whispers_without_padding(golden: dict[str, Tensor]) -> None:
    wave = golden["wav0"][0].numpy()
    theirs = WhisperFeatureExtractor(feature_size=80)(wave, sampling_rate=16_000, padding=False, return_tensors="np")
    assert np.abs(theirs["input_features"][0].T - golden["feat0"].numpy()).max() < FEATURES


@torch.no_grad()
@pytest.mark.parametrize("clip", CLIPS)
def test_the_audio_tower_is_the_originals(
    base: OsumForConditionalGeneration, golden: dict[str, Tensor], clip: int
) -> None:
    features = golden[f"feat{clip}"].T[None]
    encoded = base.model.audio_tower(features, torch.tensor([features.shape[-1]]))
    projected, lengths = base.model.encode_audio(features)
    assert largest_difference(encoded, golden[f"single{clip}_enc"]) < 1e-5
    assert largest_difference(projected, golden[f"single{clip}_proj"]) < 1e-5
    assert lengths.tolist() == [golden[f"single{clip}_proj"].shape[1]]


@torch.no_grad()
@pytest.mark.parametrize("clip", CLIPS)
def test_the_input_embeddings_are_the_originals(
    base: OsumForConditionalGeneration, processor: OsumProcessor, golden: dict[str, Tensor], clip: int
) -> None:
    inputs = inputs_of(processor, golden, clip, answered=True)
    embeddings = base.model.embed_inputs(inputs["input_ids"], inputs["input_features"])
    assert largest_difference(embeddings, golden[f"single{clip}_inputs_embeds"]) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("clip", CLIPS)
def test_the_logits_are_the_originals(
    model: object, processor: OsumProcessor, golden: dict[str, Tensor], clip: int
) -> None:
    logits = model(**inputs_of(processor, golden, clip, answered=True)).logits
    assert largest_difference(logits, golden[f"single{clip}_logits"]) < 1e-3


@torch.no_grad()
@pytest.mark.parametrize("row", [0, 2])
def test_the_rows_of_the_originals_batch_are_ours_alone(
    model: object, processor: OsumProcessor, golden: dict[str, Tensor], row: int
) -> None:
    logits = model(**inputs_of(processor, golden, row, answered=True)).logits[0]
    assert largest_difference(logits, golden[f"batch_logits{row}"]) < 1e-3


def batched(rows: list[dict[str, Tensor]], processor: OsumProcessor) -> dict[str, Tensor]:
    """Answered single inputs as one right-padded batch."""
    features, mask = zip(*[(row["input_features"][0], row["feature_attention_mask"][0]) for row in rows], strict=True)

    def pad(name: str, value: float) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence([row[name][0] for row in rows], batch_first=True, padding_value=value)

    return {
        "input_ids": pad("input_ids", processor.pad_token_id),
        "attention_mask": pad("attention_mask", 0),
        "labels": pad("labels", -100),
        "input_features": torch.nn.utils.rnn.pad_sequence([f.T for f in features], batch_first=True).transpose(1, 2),
        "feature_attention_mask": torch.nn.utils.rnn.pad_sequence(list(mask), batch_first=True),
    }


@torch.no_grad()
def test_the_loss_of_a_batch_is_the_cross_entropy_of_the_originals_single_logits(
    model: object, processor: OsumProcessor, golden: dict[str, Tensor]
) -> None:
    labels = osum_meta()["labels"]
    scored = [golden[f"single{clip}_logits"][0, -len(labels[clip]) - 1 : -1] for clip in CLIPS]
    expected = torch.nn.functional.cross_entropy(torch.cat(scored).double(), torch.tensor([*chain(*labels)]))
    loss = model(**batched([inputs_of(processor, golden, clip, answered=True) for clip in CLIPS], processor)).loss
    assert len(torch.cat(scored)) == 15
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("num_beams", [1, 4])
@pytest.mark.parametrize("clip", CLIPS)
def test_generated_ids_are_the_originals(
    model: object, processor: OsumProcessor, golden: dict[str, Tensor], clip: int, num_beams: int
) -> None:
    name = "gen_greedy" if num_beams == 1 else "gen_beam4"
    inputs = inputs_of(processor, golden, clip, answered=False)
    options = {"max_new_tokens": 24, "repetition_penalty": 1.05, "do_sample": False, "num_beams": num_beams}
    ids = model.generate(**inputs, **options)[0, inputs["input_ids"].shape[1] :]
    assert ids.tolist() == golden[f"{name}{clip}"].flatten().tolist()
