"""Where the heads and the optimisers of a run stand, as tensors by name: what resuming needs in addition to the model.

The names are those of a checkpoint's `training_state.safetensors`: `ctc.linear.weight` for a head, and
`exp_avg/adaptor.input_linear.weight` for what an optimiser keeps of a parameter. Torch's own functions place every
tensor: on its parameter's device, cut as the parameter is. Every process must call each function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from osum.errors import CheckpointError

MODEL = "model."
"""Before the names of the model's parameters within an objective; the rest are heads."""
_WHOLE = StateDictOptions(full_state_dict=True, strict=False)


def tensors_of(objective: nn.Module, sharded: bool = False) -> dict[str, Tensor]:
    """The tensors of an objective, none of them cut; of a sharded one the first process alone gets them, on the CPU."""
    if any(hasattr(parameter, "quant_state") for parameter in objective.parameters()):
        return dict(objective.state_dict())  # 4 bits come with tensors that no parameter has; they are never sharded
    # Copied only where needed: tied tables are recognised by their one place in memory.
    options = StateDictOptions(full_state_dict=True, cpu_offload=sharded)
    return cast(dict[str, Tensor], get_model_state_dict(objective, options=options))


def optimizer_tensors(objective: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """All that the optimisers keep, on the CPU; of several processes the first alone gets it."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    kept = get_optimizer_state_dict(objective, optimizers, options=options).get("state", {})
    return {
        _key(key, name): torch.as_tensor(value)
        for name, values in cast(Mapping[str, Mapping[str, Any]], kept).items()
        for key, value in values.items()
    }


def restore_heads(objective: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Take heads over; one of other tasks, or that was not there, starts again."""
    for name, head in objective.named_children():
        own = head.state_dict()
        given = {key: state[f"{name}.{key}"] for key in own if f"{name}.{key}" in state}
        given = {key: value for key, value in given.items() if value.shape == own[key].shape}
        if f"{name}." != MODEL and given:
            set_model_state_dict(head, cast(dict[str, Any], given), options=_WHOLE)


def restore(
    objective: nn.Module, optimizers: Sequence[torch.optim.Optimizer], state: Mapping[str, Tensor], source: object
) -> None:
    """Heads and optimisers stand where `state_of` found them.

    Raises:
        CheckpointError: a tensor is of another shape than its parameter; the message names `source`.
    """
    restore_heads(objective, state)
    learned = {name: value for name, value in objective.named_parameters() if value.requires_grad}
    kept = {name: _kept(state, name, parameter, source) for name, parameter in learned.items()}
    whole = get_optimizer_state_dict(objective, optimizers, options=StateDictOptions(strict=False))
    given = {"state": {name: values for name, values in kept.items() if values}, "param_groups": whole["param_groups"]}
    set_optimizer_state_dict(objective, optimizers, cast(Any, given), options=_WHOLE)
    for optimizer in optimizers:  # torch has given a first state to what never had a gradient
        for parameter in [learned[name] for name, values in kept.items() if not values]:
            optimizer.state.pop(parameter, None)


def _kept(state: Mapping[str, Tensor], name: str, parameter: Tensor, source: object) -> dict[str, Tensor]:
    """What an optimiser keeps of one parameter; single numbers, such as the counter of steps, have no shape."""
    end = _key("", name)
    found = {key.removesuffix(end): value for key, value in state.items() if key.endswith(end)}
    for key, value in found.items():
        if value.dim() and value.shape != parameter.shape:
            raise CheckpointError(
                f"{source} holds {key} of {name} as {tuple(value.shape)}, this run needs {tuple(parameter.shape)}: "
                "continue with the same model and tasks, or give another out"
            )
    return found


def _key(kept: str, name: str) -> str:
    return f"{kept}/{name.removeprefix(MODEL)}"
