"""Optimisers and learning-rate schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from osum.training.config import TrainConfig
from osum.training.learn import PARTS

_SIZE_OF_ADAMW = "match_rms_adamw"
SHARE = "share"
"""Of a group of parameters, what its learning rate is multiplied by."""


def optimizers(learned: Mapping[str, nn.Parameter], config: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW over everything, or Muon over the matrices of layers and AdamW over the rest.

    Matrices decay, biases and norms do not. Muon's step is scaled to AdamW's size, so one rate serves both; each group
    has its `SHARE` of it.
    """
    rest, made = dict(learned), list[torch.optim.Optimizer]()
    if config.optimizer == "muon":
        inner = {name: rest.pop(name) for name in learned if learned[name].dim() == 2 and ".layers." in name}
        if inner:
            groups = _by_share(inner, config, config.weight_decay)
            made.append(torch.optim.Muon(groups, adjust_lr_fn=_SIZE_OF_ADAMW))
    matrices = {name: parameter for name, parameter in rest.items() if parameter.dim() > 1}
    others = {name: parameter for name, parameter in rest.items() if parameter.dim() <= 1}
    groups = [*_by_share(matrices, config, config.weight_decay), *_by_share(others, config, 0.0)]
    return [*made, torch.optim.AdamW(groups, betas=(0.9, config.beta2), eps=config.epsilon, fused=True)]


def _by_share(learned: Mapping[str, nn.Parameter], config: TrainConfig, weight_decay: float) -> list[dict[str, Any]]:
    """The encoder's parameters as one group, all others as another, those that are empty left out."""
    encoder = {name for name in learned if name.startswith(PARTS["encoder"])}
    groups = [
        ([learned[name] for name in learned if name not in encoder], 1.0),
        ([learned[name] for name in learned if name in encoder], config.encoder_rate),
    ]
    return [{"params": part, "weight_decay": weight_decay, SHARE: share} for part, share in groups if part]


def rate(step: int, config: TrainConfig) -> float:
    """Learning rate of a step, counted from 0.

    `linear`: up over `warmup_steps`, flat, down to nothing over the last `decay_fraction` of the steps.
    `noam`: up over `warmup_steps`, then with the inverse square root of the step (specification 5).
    """
    rise = (step + 1) / max(1, config.warmup_steps)
    if config.schedule == "noam":
        return config.learning_rate * min(rise, rise**-0.5)
    fall = (config.steps - step) / max(1.0, config.decay_fraction * config.steps)
    return config.learning_rate * min(1.0, rise, fall)
