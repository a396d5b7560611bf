"""Weights stored in 8 bits: matrices as int8 with a factor for each row, opened as floats; half the size of bfloat16.

Computing is as with any other weights, so answers are those of the rounded matrices, on every machine alike. Knows
nothing of how a folder is found.

1. A row's factor is its largest absolute value divided by 127.
2. Its values, divided by the factor, are rounded: of `[0.5, -1.27, 0.004]`, factor 0.01, are stored `[50, -127, 0]`.
3. Opened it is `[0.5, -1.27, 0.0]`: no value is off by more than half a factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

FILE = "model.int8.safetensors"
SCALE = ":scale"
"""Behind the name of a matrix, the name of its factors."""
SMALLEST = 4096
"""Numbers of the smallest matrix that is stored so; all others stay float32."""


def packed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices and kernels (N, ...) as int8 and their factors (N,)."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        floats = value.detach().float()
        if value.dim() < 2 or value.numel() < SMALLEST:
            found[name] = floats.contiguous()
            continue
        rows = floats.flatten(1)  # (N, K)
        scale = rows.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / 127  # (N,)
        found[name] = (rows / scale[:, None]).round().clamp(-127, 127).to(torch.int8).view(value.shape)
        found[name + SCALE] = scale
    return found


def opened(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `packed` was given, rounded; float32."""
    return {
        name: value.float() * _along_rows(state[name + SCALE], value) if value.dtype == torch.int8 else value
        for name, value in state.items()
        if not name.endswith(SCALE)
    }


def _along_rows(scale: Tensor, value: Tensor) -> Tensor:
    return scale.view(-1, *(1 for _ in value.shape[1:]))


def write(state: Mapping[str, Tensor], folder: Path) -> None:
    """Write `FILE` into a folder; tied weights are stored once, under the name that comes first."""
    seen: dict[int, str] = {}
    once = {name: value for name, value in state.items() if seen.setdefault(value.data_ptr(), name) == name}
    save_file(packed(once), folder / FILE, {"format": "pt"})


def read(folder: str | Path) -> dict[str, Tensor] | None:
    """The opened weights of a folder that `write` wrote to; None where it has none of these."""
    path = Path(folder) / FILE
    return opened(load_file(path)) if path.is_file() else None
