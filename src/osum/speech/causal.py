"""Layers that look back alone and hand on what they look back at, so that a stream and a whole are one function.

Every layer takes and returns its past: `None` before the first frame, which reads as zeros. A part that looks ahead by
n frames is read n frames late: its row j speaks of frame j - n.
Shapes: B clips, F frames, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

Past: TypeAlias = tuple[Tensor, ...] | None
"""What each layer of a stack still looks back at, (B, frames, W) each."""


def with_past(x: Tensor, past: Tensor | None, frames: int) -> tuple[Tensor, Tensor]:
    """Put the last `frames` before `x` (B, F, W), and return what comes before the next piece.

    Example:
        >>> x, past = with_past(torch.ones(1, 3, 1), None, 2)
        >>> x[0, :, 0].tolist(), past[0, :, 0].tolist()
        ([0.0, 0.0, 1.0, 1.0, 1.0], [1.0, 1.0])
    """
    before = x.new_zeros(x.shape[0], frames, *x.shape[2:]) if past is None else past
    x = torch.cat([before, x], dim=1)
    return x, x[:, x.shape[1] - frames :]


class CausalBlock(nn.Module):
    """A depthwise convolution that looks back alone, then two layers over channels, all added to the input."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.dilation, self.past = dilation, (kernel - 1) * dilation
        self.taps = nn.Parameter(torch.randn(kernel, width) * kernel**-0.5)
        self.norm = nn.LayerNorm(width)  # of each frame alone: one over time would look at all of it
        self.inner, self.outer = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, F, W) to (B, F, W), and the past of the next piece (B, kernel * dilation, W)."""
        wide, past = with_past(x, past, self.past)
        mixed = sum(
            wide[:, place * self.dilation : place * self.dilation + x.shape[1]] * tap
            for place, tap in enumerate(self.taps)
        )
        hidden = self.norm(torch.as_tensor(mixed))
        return x + self.outer(functional.gelu(self.inner(hidden))), past


class CausalStack(nn.Module):
    """A dense layer over the last `reach` frames, then blocks.

    Example:
        >>> stack = CausalStack(inputs=4, width=8, reach=3, kernel=3, dilations=(1, 2))
        >>> whole, _ = stack(torch.ones(1, 5, 4), None)
        >>> first, past = stack(torch.ones(1, 2, 4), None)
        >>> second, _ = stack(torch.ones(1, 3, 4), past)
        >>> torch.allclose(whole, torch.cat([first, second], dim=1), atol=1e-6)
        True
    """

    def __init__(self, inputs: int, width: int, reach: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.reach = reach
        self.inlet = nn.Linear(inputs * reach, width)
        self.blocks = nn.ModuleList(CausalBlock(width, kernel, dilation) for dilation in dilations)

    def forward(self, x: Tensor, past: Past) -> tuple[Tensor, Past]:
        """(B, F, inputs) to (B, F, W), and the past of the next piece."""
        pasts: Sequence[Tensor | None] = past or [None] * (len(self.blocks) + 1)
        frames = x.shape[1]
        wide, first = with_past(x, pasts[0], self.reach - 1)
        x = self.inlet(torch.cat([wide[:, place : place + frames] for place in range(self.reach)], dim=2))
        kept = [first]
        for block, before in zip(self.blocks, pasts[1:], strict=True):
            x, after = block(x, before)
            kept.append(after)
        return x, tuple(kept)
