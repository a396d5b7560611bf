"""The run: rows of a corpus one by one, whatever a clip or the device's memory does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from osum.engine.options import LabelOptions
from osum.errors import InputError, OsumError
from osum.listening.recognizer import Asked, Recognizer
from osum.utterance import Utterance

FREE = ("batch_size", "num_workers", "read_timeout")
"""Options that change no answer."""
HOPELESS = 3
"""So many clips in a row that fail for no reason of their own: it is not the clips."""


def asked_of(model: Recognizer, options: LabelOptions) -> dict[str, Any]:
    """All that decides the answers, as JSON values: runs that go on with one file must agree on it.

    Raises:
        TaskError: an unknown task, or no prompts in the language.
        InputError, MissingExtraError: voice activity by a name that is unknown or not installed.
    """
    asked = Asked.of(model.tasks, options)
    values = {name: value for name, value in asdict(options).items() if name not in FREE}
    return {
        "model": model.name,
        "revision": model.revision,
        "dtype": model.dtype,
        **values,
        "tasks": [task.name for task in asked.tasks],
        "temperatures": {task.name: task.temperature for task in asked.tasks},
        "prompts": dict(asked.prompts),
        "vad": asked.detector.name,
    }


def label_all(
    model: Recognizer, items: Sequence[Utterance], options: LabelOptions, notice: Callable[[str], None]
) -> Iterator[Utterance]:
    """The row of each item in order.

    Where a batch does not fit into the device's memory, smaller ones are tried, and `notice` is told once. A clip
    that fails alone is a row with `error`.

    Raises:
        OsumError: nothing can be asked this way, or the device has no room for a single clip.
        Exception: several clips in a row fail for no reason of their own.
    """
    size, done, failed, told = options.batch_size, 0, 0, False
    while done < len(items):
        try:
            for row in model.label_files(items[done:], replace(options, batch_size=size)):
                yield row
                done, failed = done + 1, 0
            return
        except OsumError:
            raise
        except Exception as fault:
            memory = _out_of_memory(fault)
            if size == 1:
                failed += 1
                if failed == HOPELESS and memory:
                    raise InputError(
                        f"out of memory on {model.device} with a single clip: use another --device, --dtype or --model"
                    ) from fault
                if failed == HOPELESS:
                    raise
                error = f"{items[done].path}: {_reason(fault, memory)}"
        if memory:
            torch.cuda.empty_cache()  # behind the handler, whose traceback holds what filled the memory
        if memory and not told:
            told = True
            notice(f"out of memory on {model.device} with {size} clips at once: going on with fewer (--batch-size)")
        if size > 1:
            size = size // 2 if memory else 1
            continue
        yield items[done].with_(error=error, **_stamp(model))
        done += 1
        size = 1 if memory else options.batch_size


def _reason(fault: Exception, memory: bool) -> str:
    if memory:
        return "needs more memory than the device has; cut it into shorter files, or use another --device"
    said = " ".join(f"{type(fault).__name__}: {fault}".split())
    return f"could not be answered ({said}); if the file is in order, please report it"


def _stamp(model: Recognizer) -> Mapping[str, str]:
    return {"model": model.name, "revision": model.revision, "dtype": model.dtype}


def _out_of_memory(fault: Exception) -> bool:
    """Devices have no common error for it."""
    text = str(fault).lower()
    return isinstance(fault, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(fault, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
    )
