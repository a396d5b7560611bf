"""Optimisers and learning-rate schedules."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from osum.training.config import TrainConfig

_SIZE_OF_ADAMW = "match_rms_adamw"


def optimizers(learned: Mapping[str, nn.Parameter], config: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW over everything, or Muon over the matrices of layers and AdamW over the rest.

    Matrices decay, biases and norms do not. Muon's step is scaled to AdamW's size, so one rate serves both.
    """
    rest, made = dict(learned), list[torch.optim.Optimizer]()
    if config.optimizer == "muon":
        inner = {name: rest.pop(name) for name in learned if learned[name].dim() == 2 and ".layers." in name}
        if inner:
            made.append(torch.optim.Muon(inner.values(), weight_decay=config.weight_decay, adjust_lr_fn=_SIZE_OF_ADAMW))
    matrices = [parameter for parameter in rest.values() if parameter.dim() > 1]
    others = [parameter for parameter in rest.values() if parameter.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    return [*made, torch.optim.AdamW(groups, betas=(0.9, config.beta2), eps=config.epsilon, fused=True)]


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
