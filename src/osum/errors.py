"""The one exception tree of osum.

    OsumError
    ├── AudioError            audio that cannot be read, decoded or is outside the limits
    ├── InputError            a path, format, option or output place that cannot be used
    │   ├── UsageError            what was asked for cannot be done, whatever the data are
    │   │   └── RecipeError       a recipe or a plan that no run can follow
    │   └── QuestionError         a typed question that has no answer
    ├── ManifestError         a manifest row that is not what a manifest row must be
    ├── TaskError             an unknown task or label, or a text that a task cannot render
    ├── CheckpointError       a folder or file that is not a usable checkpoint
    │   └── ConversionError   a released checkpoint whose keys or shapes do not fit
    ├── LayoutError           a conversation that the model's prompt layout cannot carry
    ├── CancelledError        a request that was cancelled before it was answered
    ├── EndpointError         a language model's endpoint that gives no usable answer to a request
    │   └── EndpointUnusableError   ... to any: down, not allowed, or the limit of cost is reached
    └── MissingExtraError     an optional dependency is not installed

Every message holds the bad value, the rule and the way out, in one line.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class OsumError(Exception):
    """Base of everything that osum raises on purpose."""


class AudioError(OsumError):
    """Audio that cannot be read, decoded, or that is outside the limits."""

    def __init__(self, message: str, kind: str = "audio") -> None:
        super().__init__(message)
        self.kind = kind
        """One of a few names, to be counted: `audio`, `cut off`, `scale`, `channel`."""


class InputError(OsumError):
    """A path, format, option or output place that cannot be used."""


class UsageError(InputError):
    """What was asked for cannot be done: wrong usage, where other errors come of the data or the machine."""


@contextmanager
def as_usage() -> Iterator[None]:
    """Where nothing but what was asked for can be wrong: a name that is none is wrong usage."""
    try:
        yield
    except (TaskError, InputError) as fault:
        raise UsageError(str(fault)) from fault


class RecipeError(UsageError):
    """A recipe or a plan that no run can follow."""


class QuestionError(InputError):
    """A typed question that has no answer: its number, counted from 0, and the field that is at fault."""

    def __init__(self, number: int, field: str, message: str) -> None:
        super().__init__(f"question {number}: {message}")
        self.number, self.field = number, field


class ManifestError(OsumError):
    """A manifest row that is not what a manifest row must be."""


class TaskError(OsumError):
    """An unknown task or label, or a text that a task cannot render."""


class CheckpointError(OsumError):
    """A folder or file that is not a usable checkpoint."""


class ConversionError(CheckpointError):
    """A released checkpoint whose keys or shapes do not fit."""


class LayoutError(OsumError):
    """A conversation that the model's prompt layout cannot carry."""


class CancelledError(OsumError):
    """A request that was cancelled before it was answered."""


class EndpointError(OsumError):
    """A language model's endpoint that gives no usable answer to a request."""


class EndpointUnusableError(EndpointError):
    """An endpoint that will answer no request: down, not allowed, or the limit of cost is reached."""


class MissingExtraError(OsumError):
    """An optional dependency is not installed; the message prints the pip line."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'osum[{extra}]'")
