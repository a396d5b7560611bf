"""The whole tiny OSUM-EChat against the original: `python benchmarks/echat_parity.py PARITY/echat`.

The tests hold a part of the state dict and of these values; this script holds all of them, gradient norms included.
It prints the largest difference of each file, and exits with 1 where one is over its bar.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from model.golden import echat_config
from model.golden_echat import (
    GENERATIONS,
    LAYOUTS,
    Forward,
    decode,
    head_of,
    processor_of,
    prompt_of,
    released_ids,
)

from osum.checkpoints.convert.names import to_ours
from osum.model import OsumForConditionalGeneration, OsumProcessor
from osum.training.objective import DialogueObjective

BARS = {"inputs": 1e-5, "hidden": 1e-4, "text_lse": 1e-3, "speech_lse": 1e-3, "loss": 1e-5, "gradients": 1e-3}
BARS |= {"prompt": 1e-5, "scores": 2e-3, "lse": 1e-3, "ids": 0.0}


def whole_model(parity: Path) -> OsumForConditionalGeneration:
    state = load_file(parity / "state_dict.safetensors")
    units = len(state["speech_transformer.encoders.0.feed_forward.w_1.bias"])
    model = OsumForConditionalGeneration(echat_config(units, vocab_size=151_936)).eval()
    ours = {name: value for key, value in state.items() if (name := to_ours(key))}
    missing = model.load_state_dict(ours, strict=False)
    assert not missing.unexpected_keys, missing
    return model


def forward_differences(forward: Forward, model: OsumForConditionalGeneration) -> dict[str, float]:
    """Largest differences at attended positions, of the loss and of the gradient norms."""
    golden, batch = forward.golden, forward.batch()
    model.zero_grad()
    audio = {name: batch.get(name) for name in ("input_features", "feature_attention_mask")}
    embeddings = model.model.embed_inputs(batch["input_ids"], **audio)
    mask = batch["attention_mask"]
    hidden = model.model(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
    logits = model.compute_logits(hidden)
    text, speech = logits.detach().split([model.num_text_ids, 4097], dim=-1)
    training = {**batch, "num_text_ids": model.num_text_ids}
    loss = DialogueObjective(model)(training)[0] / DialogueObjective.counts(training)[0]
    loss.backward()
    mine, theirs = mask.bool(), torch.from_numpy(golden["attention_mask"])

    def apart(ours: Tensor, name: str) -> float:
        return float((ours.detach()[mine] - torch.from_numpy(golden[name])[theirs]).abs().max())

    return {
        "inputs": apart(embeddings, "inputs_embeds"),
        "hidden": apart(hidden, "hidden_last"),
        "text_lse": apart(text.logsumexp(-1), "text_logits_logsumexp"),
        "speech_lse": apart(speech.logsumexp(-1), "speech_logits_logsumexp"),
        "loss": abs(loss.item() - float(golden["loss"])) / float(golden["loss"]),
        "gradients": gradient_difference(model, json.loads(str(golden["grad_norms"]))),
    }


def gradient_difference(model: OsumForConditionalGeneration, golden: Mapping[str, float]) -> float:
    """Largest relative difference of a gradient norm."""
    norms = {name: float(p.grad.norm()) for name, p in model.named_parameters() if p.grad is not None}
    pairs = [(norms.get(str(to_ours(name)), 0.0), norm) for name, norm in golden.items() if norm > 1e-9]
    return max(abs(ours - theirs) / theirs for ours, theirs in pairs)


def generation_differences(
    name: str,
    golden: Mapping[str, Any],
    first_turn: Sequence[int],
    model: OsumForConditionalGeneration,
    processor: OsumProcessor,
) -> dict[str, float]:
    """Largest differences of the prompt that is no audio, of each step's scores, and whether ids differ."""
    embeddings = torch.from_numpy(golden["inputs_embeds"])
    prompt = prompt_of(name, embeddings.shape[1], first_turn, processor)
    known = prompt != model.config.audio_token_id
    output = decode(name, prompt, embeddings, model, processor)
    scores, lses = 0.0, 0.0
    for step, logits in enumerate(output.logits):
        head = head_of(logits, int(golden[f"step{step:02d}_width"]), model)
        every = torch.from_numpy(golden[f"step{step:02d}_logits_every64"]).float()[0]
        scores = max(scores, float((head[::64] - every).abs().max()))
        lses = max(lses, abs(float(head.logsumexp(-1)) - float(golden[f"step{step:02d}_logsumexp"][0])))
    return {
        "prompt": float((model.model.embed_ids(prompt)[known] - embeddings[known]).detach().abs().max()),
        "scores": scores,
        "lse": lses,
        "ids": float(released_ids(output, prompt, processor) != golden["ids"][0].tolist()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parity", type=Path, help="the folder with state_dict.safetensors and the .npz files")
    parity = parser.parse_args().parity
    model = whole_model(parity)
    processor = processor_of(model)
    over = False
    for layout in LAYOUTS:
        golden = dict(np.load(parity / f"forward_{layout}.npz"))
        found = forward_differences(Forward(layout, golden, processor), model)
        over |= any(value > BARS[name] for name, value in found.items())
        print(f"{layout:28}", *(f"{name} {value:.1e}" for name, value in found.items()))
    first_turn = np.load(parity / "generate_s2s_turn1.npz")["ids"][0].tolist()
    for name in GENERATIONS:
        golden = dict(np.load(parity / f"generate_{name}.npz"))
        found = generation_differences(name, golden, first_turn, model, processor)
        over |= any(value > BARS[name] for name, value in found.items())
        print(f"generate {name:19}", *(f"{name} {value:.1e}" for name, value in found.items()))
    return int(over)


if __name__ == "__main__":
    raise SystemExit(main())
