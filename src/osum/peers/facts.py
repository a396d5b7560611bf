"""What every recogniser checks and reports in the same way: questions, settings, devices, revisions, versions."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from osum.errors import InputError, TaskError
from osum.peers.recogniser import Options, Question, Recogniser
from osum.text import did_you_mean


def check_question(recogniser: Recogniser, question: Question) -> None:
    """Raises TaskError where the question is not one of the recogniser's tasks."""
    if question.task not in recogniser.tasks:
        hint = did_you_mean(question.task, recogniser.tasks)
        known = ", ".join(sorted(recogniser.tasks))
        raise TaskError(f"{recogniser.name} does not answer {question.task!r}: {hint}it answers {known}")


def check_no_prompt(recogniser: Recogniser, question: Question) -> None:
    """Raises TaskError where a prompt is given to a recogniser that takes none."""
    if question.prompt is not None:
        raise TaskError(f"{recogniser.name} takes no prompt, such as {question.prompt[:40]!r}: ask it without one")


def check_on_cpu(kind: str, options: Options) -> None:
    """Raises InputError where a recogniser that knows the CPU alone is given a device or a dtype."""
    if options.device not in (None, "cpu") or options.dtype not in (None, "float32"):
        asked = ", ".join(filter(None, (options.device, options.dtype)))
        raise InputError(f"{kind} runs on the CPU in float32, not on {asked}: leave device and dtype out")


def versions(*packages: str) -> dict[str, str]:
    """Versions of installed packages; one that is missing is left out."""
    found: dict[str, str] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
