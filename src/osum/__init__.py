"""osum: speech understanding and empathetic spoken dialogue.

The public names, each imported when it is first used, so that `import osum` loads no model code.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osum.dialogue.model import Model, load
    from osum.dialogue.options import TalkOptions
    from osum.dialogue.talker import Reply, Talker
    from osum.engine.options import GenerationOptions, LabelOptions
    from osum.errors import OsumError
    from osum.listening.recognizer import Recognizer
    from osum.model import OsumConfig, OsumForConditionalGeneration, OsumProcessor
    from osum.tasks import LabelSet, Task, TaskSet
    from osum.utterance import Answer, Segment, Utterance, VocalEvent, Word

    __version__: str

__all__ = [
    "Answer",
    "GenerationOptions",
    "LabelOptions",
    "LabelSet",
    "Model",
    "OsumConfig",
    "OsumError",
    "OsumForConditionalGeneration",
    "OsumProcessor",
    "Recognizer",
    "Reply",
    "Segment",
    "TalkOptions",
    "Talker",
    "Task",
    "TaskSet",
    "Utterance",
    "VocalEvent",
    "Word",
    "__version__",
    "load",
]

_NAMES_OF = {
    "osum.dialogue.model": ("Model", "load"),
    "osum.dialogue.options": ("TalkOptions",),
    "osum.dialogue.talker": ("Reply", "Talker"),
    "osum.errors": ("OsumError",),
    "osum.engine.options": ("GenerationOptions", "LabelOptions"),
    "osum.listening.recognizer": ("Recognizer",),
    "osum.model": ("OsumConfig", "OsumForConditionalGeneration", "OsumProcessor"),
    "osum.tasks": ("LabelSet", "Task", "TaskSet"),
    "osum.utterance": ("Answer", "Segment", "Utterance", "VocalEvent", "Word"),
}
_HOME = {name: module for module, names in _NAMES_OF.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("osum")
    if name not in _HOME:
        raise AttributeError(f"module 'osum' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
