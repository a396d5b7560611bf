"""Memory that a recipe needs on one GPU, computed from sizes, without weights: `python benchmarks/training_memory.py`.

    python benchmarks/training_memory.py recipes/dialogue_talker.yaml --model preset:echat
    python benchmarks/training_memory.py recipes/dialogue_empathy.yaml --model echat/ --lora-rank 64

What learns is held in float32 with its gradient and AdamW's two moments (16 bytes a parameter); what is frozen in the
recipe's arithmetic (2 bytes). Activations are those of activation checkpointing: the inputs of every layer, one layer's
own, and the scores of the tokens that are learned, over the whole vocabulary. It is an estimate from below: kernels and
the allocator take some more.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch

from osum.model import OsumConfig, OsumForConditionalGeneration
from osum.training.config import TrainConfig, read_recipe
from osum.training.learn import LORA, choose, count_learned, with_lora

WHOLE, FROZEN = 16, 2
"""Bytes of a parameter that learns, with gradient and moments, and of one that does not."""
SCORE = 4 * 3
"""Bytes of a score: float32, its softmax, its gradient."""
LAYER = 34
"""Values of a layer's activations for each token and unit of width (arXiv 2205.05198, equation 1)."""


@dataclass(frozen=True)
class Needed:
    """Bytes."""

    learned: int
    frozen: int
    activations: int

    @property
    def total(self) -> int:
        return self.learned + self.frozen + self.activations


def needed(config: TrainConfig, architecture: OsumConfig) -> tuple[Needed, dict[str, int]]:
    """Bytes of a run, and parameters that learn by part."""
    if config.dialogue.num_codes and config.kind == "dialogue":
        changes = {"num_speech_ids": config.dialogue.num_codes + 1, "speech_output": True}
        architecture = OsumConfig(**{**architecture.to_dict(), **changes})
    with torch.device("meta"):
        model = OsumForConditionalGeneration(architecture)
        model.tie_weights()
        if LORA in config.learn.split("+"):
            with_lora(model, config, None)
    choose(model, config)
    learned = {name: value for name, value in model.named_parameters() if value.requires_grad}
    frozen = sum(value.numel() for value in model.parameters() if not value.requires_grad)
    return Needed(
        WHOLE * sum(value.numel() for value in learned.values()), FROZEN * frozen, activations(config, architecture)
    ), count_learned(learned, config.learn)


def activations(config: TrainConfig, architecture: OsumConfig) -> int:
    """Bytes of one batch with activation checkpointing."""
    text, encoder = architecture.text_config, architecture.audio_config
    tokens = config.batch_tokens or round(config.batch_seconds * 12.5 * 1.5)
    frames = round(min(config.batch_seconds, tokens / 12.5) * 50)
    of_text = tokens * text.hidden_size * (2 * text.num_hidden_layers + 2 * LAYER)
    of_sound = frames * encoder.hidden_size * (2 * encoder.num_hidden_layers + 2 * LAYER)
    return of_text + of_sound + SCORE * tokens // 2 * architecture.vocab_size


def architecture_of(name: str) -> OsumConfig:
    preset = name.removeprefix("preset:")
    return OsumConfig.preset(preset) if preset != name else OsumConfig.from_pretrained(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", type=Path, help="recipes (all of dialogues)")
    parser.add_argument("--model", default="preset:echat", help="preset:NAME or a checkpoint's folder (preset:echat)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides, as of osum train")
    arguments = parser.parse_args()
    root = Path(__file__).parents[1] / "recipes"
    given = arguments.recipes or [
        root / f"dialogue_{name}.yaml" for name in ("understand", "speak", "empathy", "talker")
    ]
    architecture = architecture_of(arguments.model)
    print("| recipe | learns | learned, GB | frozen, GB | activations, GB | together, GB |\n|---|---|---|---|---|---|")
    for recipe in given:
        (config, *_) = read_recipe(recipe, arguments.set)
        found, parts = needed(config, architecture)
        learns = ", ".join(f"{part} {number / 1e6:,.0f} M" for part, number in parts.items())
        sizes = (found.learned, found.frozen, found.activations, found.total)
        print(f"| `{recipe.stem}` | {learns} | {' | '.join(f'{size / 1e9:.0f}' for size in sizes)} |")


if __name__ == "__main__":
    main()
