"""A folder for `osum talk --codec` out of trained parts: `python -m recipes.voice.pack --run DIR --out DIR`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from osum.files import atomic_file
from osum.speech.checkpoint import weights_file, write_config
from osum.speech.small_voice import SmallVoiceConfig
from osum.speech.voice import Voice
from recipes.voice.speak import SPEAKERS
from recipes.voice.train import PARTS, read_recipe

LICENCE = "Apache-2.0 (Kokoro-82M v1.0)"
CONSENT = "none needed: a synthetic voice of Kokoro, part of whose training speech was itself synthetic"


def pack(run: Path, out: Path, recipes: Path) -> SmallVoiceConfig:
    """Write sizes, weights in float16, and one voice for each speaker; parts that are not trained yet are left out."""
    sizes = {part: read_recipe(recipes / f"{part}.yaml", ["data=", "out="]) for part in PARTS}
    config = SmallVoiceConfig(**{part: getattr(recipe, part) for part, recipe in sizes.items()})
    out.mkdir(parents=True, exist_ok=True)
    write_config(config, out)
    for part in PARTS:
        trained = run / weights_file(part)
        if trained.is_file():
            state = {
                name: value.half() if value.is_floating_point() else value for name, value in load_file(trained).items()
            }
            with atomic_file(out / weights_file(part)) as file:
                file.write(save(state))
    for place, speaker in enumerate(SPEAKERS):
        embedding = torch.nn.functional.one_hot(torch.tensor(place), len(SPEAKERS)).float()
        nothing = torch.empty(0, dtype=torch.long), torch.empty(config.mel.num_bins, 0)
        Voice(config.name, *nothing, embedding, LICENCE, CONSENT).save(out / f"{speaker}.safetensors")
    return config


def main() -> None:
    parser = argparse.ArgumentParser(description="Put a trained small voice together.")
    parser.add_argument("--run", type=Path, required=True, help="folder of recipes.voice.train")
    parser.add_argument("--out", type=Path, required=True, help="folder for osum talk --codec")
    arguments = parser.parse_args()
    pack(arguments.run, arguments.out, Path(__file__).parent)


if __name__ == "__main__":
    main()
