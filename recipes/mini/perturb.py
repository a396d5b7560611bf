"""How much rounding the language model changes what a checkpoint answers:

    python -m recipes.mini.perturb --model recipes/mini --base DIR --rows DIR/valid.jsonl [--clips 100] [--bits 4]

The language model that `mini` learned on came in 4 to 8 bits; whoever fetches it gets other bits. Here it is rounded
once more, by as much, and both answer the same clips.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

import osum
from osum.audio import SAMPLE_RATE
from osum.checkpoints.base import Base, tensors_in
from osum.corpus.clips import ClipAudio
from osum.corpus.manifest import read_manifest
from osum.scoring import cer
from osum.utterance import Utterance

BLOCK = 32  # numbers that share a step
TASKS = ("ASR", "SGC", "SAP", "LID")


@dataclass(frozen=True)
class Difference:
    """Between the answers on two forms of a language model."""

    clips: int
    distance: float
    """Of the matrices, relative to their length; the largest of the kinds."""
    same_text: float
    """Share of the clips with the same transcript."""
    character_error: float
    """Of one's transcripts against the other's."""
    same_label: Mapping[str, float]
    """Task to the share of the clips with the same label."""


def rounded(state: Mapping[str, Tensor], bits: int) -> dict[str, Tensor]:
    """Matrices whose blocks are rounded to so many bits, symmetrically; vectors stay."""
    most = 2 ** (bits - 1) - 1
    found = dict(state)
    for name, value in state.items():
        if value.dim() > 1 and value.numel() % BLOCK == 0:
            blocks = value.float().reshape(-1, BLOCK)
            step = blocks.abs().amax(1, keepdim=True).clamp(min=1e-12) / most
            found[name] = ((blocks / step).round() * step).reshape(value.shape).to(value.dtype)
    return found


def perturb(base: Path, out: Path, bits: int) -> None:
    """Write a copy of a language model with rounded matrices."""
    shutil.copytree(base, out, ignore=shutil.ignore_patterns("*.safetensors*"))
    save_file(rounded(tensors_in(base), bits), out / "model.safetensors", {"format": "pt"})


def compare(model: str, base: Path, other: Path, rows: Sequence[Utterance]) -> Difference:
    """Answer the clips on both."""
    read = ClipAudio().read
    clips = [(read(row), SAMPLE_RATE) for row in rows]
    opened = [osum.load(model, base=folder, offline=True) for folder in (base, other)]
    tasks = [name for name in TASKS if name in opened[0].tasks]
    one, two = (recognizer.label(clips, tasks=tasks) for recognizer in opened)
    texts = [(a.text or "", b.text or "") for a, b in zip(one, two, strict=True)]
    left_out = Base.read(Path(model))
    assert left_out is not None, "a checkpoint that leaves its language model out"
    apart = [off for kind, off, _ in left_out.distances(left_out.state(other)) if "proj.weight" in kind]
    return Difference(
        clips=len(rows),
        distance=round(max(apart), 3),
        same_text=round(sum(a == b for a, b in texts) / len(texts), 3),
        character_error=round(cer([a for a, _ in texts], [b for _, b in texts]).value, 4),
        same_label={
            name: round(sum(_said(a, name) == _said(b, name) for a, b in zip(one, two, strict=True)) / len(rows), 3)
            for name in tasks[1:]
        },
    )


def _said(row: Utterance, task: str) -> str | None:
    return row.summary[task].label if task in row.summary else None


def main() -> None:
    parser = argparse.ArgumentParser(description="Answers on a language model and on a rounded one.")
    parser.add_argument("--model", default="recipes/mini", help="a checkpoint that leaves its language model out")
    parser.add_argument("--base", type=Path, required=True, metavar="DIR", help="folder of the language model")
    parser.add_argument("--rows", type=Path, required=True, metavar="FILE", help="manifest of clips with speech")
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--bits", type=int, default=4)
    arguments = parser.parse_args()
    rows = [row for row in read_manifest(arguments.rows) if row.text][: arguments.clips]
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "rounded"
        perturb(arguments.base, other, arguments.bits)
        found = compare(arguments.model, arguments.base, other, rows)
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
