"""Viterbi: the likeliest way of a known sequence of units through the scores of a CTC head, exact and batched.

1. A way visits blank, unit 0, blank, unit 1, ... blank in order, a state a frame; blanks may be skipped, but for the
   one between two equal units.
2. Frame by frame, each state keeps the best score with which it can be reached, and from how many states back.
3. From the better of the last two states the way is followed back.

Example, units `a a` over four frames that say `a - a -`: the states `- a - a -` are visited as `a - a -`, numbers
1 2 3 4, so the first `a` has frame 0 and the second frame 2.

Shapes: B clips, T frames, N units of the head, the last of them the blank, U units of a text, S = 2 U + 1 states.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Span = tuple[int, int]
"""First frame of a unit, and the one behind its last."""


def best_paths(
    log_probs: Tensor, lengths: Sequence[int], targets: Sequence[Sequence[int]]
) -> list[tuple[float, list[Span]] | None]:
    """The log-probability of the likeliest way of each text, and the frames of each of its units.

    Args:
        log_probs: (B, T, N).
        lengths: frames of each clip.
        targets: units of each text.

    Returns:
        For each clip the score with a span for each unit; None where the text has no room in the frames.
    """
    device = log_probs.device
    most = 2 * max(map(len, targets), default=0) + 1
    states, skips = _states(targets, most, log_probs.shape[-1] - 1)
    states, skips = states.to(device), skips.to(device)
    ends = torch.tensor(lengths, device=device)
    below = torch.full((len(targets), 2), -torch.inf, device=device)
    scores = torch.full((len(targets), most), -torch.inf, device=device)  # (B, S)
    scores[:, 0] = 0.0  # before the first frame: the first blank, or through it to the first unit
    steps = torch.zeros(log_probs.shape[1], len(targets), most, dtype=torch.int8, device=device)  # (T, B, S)
    for frame in range(log_probs.shape[1]):
        padded = torch.cat([below, scores], dim=1)
        two = padded[:, :-2] if frame else torch.full_like(scores, -torch.inf)
        back = torch.stack([scores, padded[:, 1:-1], two.masked_fill(~skips, -torch.inf)])  # (3, B, S)
        best, steps[frame] = back.max(0).values, back.max(0).indices.to(torch.int8)
        reached = best + log_probs[:, frame].gather(1, states)
        scores = torch.where((frame < ends)[:, None], reached, scores)
    return [
        _followed(scores[row, : 2 * len(units) + 1].tolist(), steps[: lengths[row], row].cpu(), len(units))
        for row, units in enumerate(targets)
    ]


def _states(targets: Sequence[Sequence[int]], most: int, blank: int) -> tuple[Tensor, Tensor]:
    """(B, S): the unit of each state, and whether it may be reached from the unit two states before."""
    states = torch.full((len(targets), most), blank)
    skips = torch.zeros(len(targets), most, dtype=torch.bool)
    for row, units in enumerate(targets):
        for at, unit in enumerate(units):
            states[row, 2 * at + 1] = unit
            skips[row, 2 * at + 1] = at > 0 and unit != units[at - 1]
    return states, skips


def _followed(scores: list[float], steps: Tensor, num_units: int) -> tuple[float, list[Span]] | None:
    """The way back from the better of the last two states; steps (T, S)."""
    state = max(range(max(0, len(scores) - 2), len(scores)), key=lambda each: scores[each])
    if scores[state] == -torch.inf:
        return None
    first, last = [0] * num_units, [0] * num_units
    score, back = scores[state], steps.tolist()
    for frame in range(len(back) - 1, -1, -1):
        if state % 2:
            unit = state // 2
            first[unit], last[unit] = frame, max(last[unit], frame + 1)
        state -= back[frame][state]
    return score, list(zip(first, last, strict=True))
