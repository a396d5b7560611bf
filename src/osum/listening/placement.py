"""Where a model runs, and in which numbers, where perhaps neither is given."""

from __future__ import annotations

import torch

from osum.errors import UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def placement(device: str | None = None, dtype: str | None = None) -> tuple[str, str]:
    """Device and dtype to run on where perhaps neither is given; see `load`.

    Raises:
        UsageError: an unknown dtype or device.
    """
    place = _device(device)
    kind = dtype or ("float32" if place == "cpu" else "bfloat16")
    if kind not in DTYPES:
        raise UsageError(f"dtype {kind!r} is unknown: choose one of {', '.join(DTYPES)}")
    return place, kind


def _device(device: str | None) -> str:
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as fault:
        raise UsageError(f"device {device!r} cannot be used here: `osum doctor` lists the devices") from fault
    return device
