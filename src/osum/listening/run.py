"""The run: rows of a corpus one by one, whatever a clip or the device's memory does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

from osum.engine.engine import is_out_of_memory
from osum.engine.options import LabelOptions
from osum.errors import InputError
from osum.listening.asked import Asked
from osum.listening.recognizer import Recognizer
from osum.listening.transcripts import Transcriber
from osum.utterance import Utterance

FREE = ("batch_size", "num_workers", "read_timeout")
"""Options that change no answer."""
HOPELESS = 3
"""So many clips in a row that fail for no reason of their own: it is not the clips."""


def asked_of(model: Recognizer, options: LabelOptions, transcriber: Transcriber | None = None) -> dict[str, Any]:
    """All that decides the answers, as JSON values: runs that continue one file must agree on it.

    Raises:
        TaskError: an unknown task, or no prompts in the language.
        InputError, MissingExtraError: voice activity by a name that is unknown or not installed.
    """
    asked = Asked.of(model.tasks, options, transcriber)
    values = {name: value for name, value in asdict(options).items() if name not in FREE}
    if not options.word_times:  # as runs were begun before there was such a choice
        del values["word_times"]
    if asked.transcriber is None:
        del values["transcript"]
    else:
        values["transcript"] = {"from": asked.transcriber.name, **asked.transcriber.describe()}
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
    model: Recognizer,
    items: Iterable[Utterance],
    options: LabelOptions,
    notice: Callable[[str], None],
    transcriber: Transcriber | None = None,
) -> Iterator[Utterance]:
    """The row of each item in order.

    Where a batch does not fit into the device's memory, smaller ones are tried, and `notice` is called once. A clip
    that fails alone is a row with `error`.

    Raises:
        OsumError: nothing can be asked this way, or the device has no room for a single clip.
        Exception: several clips in a row fail for no reason of their own.
    """
    failed, noticed, before = 0, False, model.engine.counts.memory_faults

    def watch(fault: Exception) -> None:
        nonlocal failed
        failed += 1
        if failed == HOPELESS and is_out_of_memory(fault):
            raise InputError(
                f"out of memory on {model.device} with a single clip: use another --device, --dtype or --model"
            ) from fault
        if failed == HOPELESS:
            raise fault

    for row in model.label_files(items, options, watch, transcriber):
        if row.error is None:
            failed = 0
        if not noticed and model.engine.counts.memory_faults > before:
            noticed = True
            size = options.batch_size
            notice(f"out of memory on {model.device} with {size} clips at once: continuing with fewer (--batch-size)")
        yield row
