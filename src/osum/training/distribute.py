"""Several processes as one: sums over them, and FSDP2 where a model does not fit into each of them.

Without sharding every process holds everything, works on its share of a step's batches, and gradients are added up.
Started by torchrun or `accelerate launch`; alone, nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor


def add_up(values: Tensor) -> Tensor:
    """The sum over processes, in place."""
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
    return values


def add_up_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the sum of all gradients; sharded ones were added up on the way back.

    What has a gradient in no process keeps none: an optimiser would let it decay.
    """
    whole = [parameter for parameter in parameters if not isinstance(parameter, DTensor)]
    if not torch.distributed.is_initialized() or not whole:
        return
    learned = add_up(torch.tensor([float(p.grad is not None) for p in whole], device=whole[0].device))
    whole = [parameter for parameter, number in zip(whole, learned.tolist(), strict=True) if number]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in whole]
    total = add_up(torch.cat([gradient.flatten() for gradient in gradients]))
    parts = torch.split(total, [gradient.numel() for gradient in gradients])
    for parameter, part in zip(whole, parts, strict=True):
        parameter.grad = part.view_as(parameter)


def shard(objective: nn.Module, layers: Iterable[str], dtype: torch.dtype) -> None:
    """Cut the parameters of all layers of these class names, and of the rest, over the processes (FSDP2).

    Matrix products run in `dtype`; weights, gradients and optimiser stay in float32.
    """
    policy = MixedPrecisionPolicy(param_dtype=None if dtype == torch.float32 else dtype, reduce_dtype=torch.float32)
    names = set(layers)
    for module in [module for module in objective.modules() if type(module).__name__ in names]:
        fully_shard(module, mp_policy=policy)
    fully_shard(objective, mp_policy=policy)
    for module in objective.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # losses are divided by the counts of all processes already
            module.set_force_sum_reduction_for_comms(True)  # gloo has no sum with a factor


def whole(value: Tensor) -> Tensor:
    """A tensor as one process holds it; every process must ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value
