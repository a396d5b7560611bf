"""The codes of the clips: `python -m recipes.voice.codes --whisper DIR --data DIR --out DIR`.

1. Whisper base's encoder, up to a middle layer, hears a clip; two of its frames of 20 ms make one vector of 40 ms.
2. Each vector is freed of the clip's mean, which holds who speaks, and projected to where the vectors differ most.
3. The nearest of 1,024 centres, found by k-means over the training clips, is its code.

The centres are found once and kept (`quantizer.safetensors`): all that is trained later rests on them. They rest on
Whisper's published weights, not on a checkpoint of `nano`, so that codes stay what they are when `nano` learns more.
Shapes: S samples, N codes, D width of two frames, P projected width, K centres.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional
from transformers import WhisperModel

from osum.files import atomic_file
from osum.speech.features import whisper_log_mel
from recipes.nano.speak import INDEX, spoken
from recipes.voice.corpus import CODE_SAMPLES, CODES, Clip, read_clips, read_lines

LAYER = 4
"""Encoder layers that are passed: words are not yet all that is left of the sound."""
QUANTIZER = "quantizer.safetensors"
PROJECTED = 96

log = logging.getLogger("codes")


class Encoder:
    """Whisper base up to `LAYER`."""

    def __init__(self, folder: Path) -> None:
        self.encoder: Any = WhisperModel.from_pretrained(folder, dtype=torch.float32).encoder.eval()

    @torch.inference_mode()
    def __call__(self, wave: Tensor) -> Tensor:
        """A waveform (S,) of whole codes at 16 kHz to vectors (N, D) without the clip's mean."""
        mel = whisper_log_mel(wave, 80)[None]
        x = functional.gelu(self.encoder.conv2(functional.gelu(self.encoder.conv1(mel)))).transpose(1, 2)
        x = x + self.encoder.embed_positions.weight[: x.shape[1]]
        for layer in self.encoder.layers[:LAYER]:
            out = layer(x, attention_mask=None)
            x = out[0] if isinstance(out, tuple) else out
        x = x[0, : len(wave) // CODE_SAMPLES * 2].reshape(-1, 2 * x.shape[2])
        x = functional.layer_norm(x, x.shape[1:])
        return x - x.mean(0)


class Quantizer(nn.Module):
    """A projection and the centres."""

    def __init__(self, projection: Tensor, centres: Tensor) -> None:
        super().__init__()
        self.register_buffer("projection", projection)  # (D, P)
        self.register_buffer("centres", centres)  # (K, P)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) to codes (N,)."""
        return torch.cdist(x @ self.projection, self.centres).argmin(1)


def fit(vectors: Tensor, num_codes: int, rounds: int = 25, seed: int = 1) -> Quantizer:
    """Principal components of (N, D), then k-means; a centre that nothing is near moves to a random vector."""
    drawn = torch.Generator().manual_seed(seed)
    values, directions = torch.linalg.eigh(vectors.T @ vectors / len(vectors))
    scale = values[-PROJECTED:].clamp(min=1e-6).pow(-0.25)  # half whitened: rare differences count too
    projection = directions[:, -PROJECTED:] * scale
    points = vectors @ projection
    centres = points[torch.randperm(len(points), generator=drawn)[:num_codes]]
    for number in range(rounds):
        near = torch.cat([torch.cdist(part, centres).argmin(1) for part in points.split(8192)])
        counts = torch.bincount(near, minlength=num_codes)
        sums = torch.zeros_like(centres).index_add_(0, near, points)
        centres = sums / counts.clamp(min=1)[:, None]
        empty = (counts == 0).nonzero()[:, 0]
        centres[empty] = points[torch.randint(len(points), (len(empty),), generator=drawn)]
        if number % 8 == 0 or number == rounds - 1:
            error = (points - centres[near]).square().sum(1).mean() / points.square().sum(1).mean()
            log.info("round %d: %.3f of the variance is left, %d centres unused", number, error, len(empty))
    return Quantizer(projection, centres)


def write_codes(encoder: Encoder, quantizer: Quantizer, clips: Sequence[Clip], path: Path) -> None:
    """Add the codes of the clips to the file, each line whole."""
    with path.open("ab") as lines:
        for clip in clips:
            row = {"name": clip.name, "codes": quantizer(encoder(clip.samples)).tolist()}
            lines.write(json.dumps(row).encode() + b"\n")
            lines.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description="Find the codes of the spoken clips.")
    parser.add_argument("--whisper", type=Path, required=True, help="folder of openai/whisper-base")
    parser.add_argument("--data", type=Path, required=True, help="folder of recipes.voice.speak")
    parser.add_argument("--out", type=Path, required=True, help=f"folder of {QUANTIZER}; fitted where there is none")
    parser.add_argument("--num-codes", type=int, default=1024)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    torch.set_num_threads(1)
    encoder, path = Encoder(arguments.whisper), arguments.out / QUANTIZER
    if not path.is_file():
        arguments.out.mkdir(parents=True, exist_ok=True)
        clips = read_clips(arguments.data, "train")
        quantizer = fit(torch.cat([encoder(clip.samples) for clip in clips]), arguments.num_codes)
        with atomic_file(path) as file:
            file.write(save(dict(quantizer.state_dict())))
    quantizer = Quantizer(**load_file(path))
    done = {row["name"] for row in read_lines(arguments.data / CODES)}
    for split in ("train", "valid", "test"):
        left = [
            row["name"] for row in spoken(arguments.data / INDEX) if row["split"] == split and row["name"] not in done
        ]
        if left:
            wanted = set(left)
            clips = [clip for clip in read_clips(arguments.data, split) if clip.name in wanted]
            write_codes(encoder, quantizer, clips, arguments.data / CODES)
            log.info("%s: codes of %d clips", split, len(clips))


if __name__ == "__main__":
    main()
