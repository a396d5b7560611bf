"""The command `osum`: which subcommands there are, and how each run ends.

Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 something failed,
2 wrong usage, 130 interrupted, 141 nobody reads the output. Subcommands import what is heavy when they run.
"""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TextIO

from osum.cli.arguments import Parser, ShowVersion
from osum.errors import OsumError, UsageError
from osum.text import did_you_mean

SAME_FAULT = 10
"""Seconds that a process of torchrun, but for a machine's first, waits before it says why it stops.

A fault of them all is said by the first alone, since torchrun ends the others when that one has ended.
"""
FAILED, WRONG_USAGE, INTERRUPTED, NO_READER = 1, 2, 130, 141
_COMMANDS = {
    "label": ("label", "transcribe"),
    "align": ("align",),
    "find": ("find",),
    "ask": ("chat", "ask"),
    "tasks": ("tasks",),
    "doctor": ("doctor",),
    "convert": ("convert",),
    "data": ("data",),
    "train": ("train", "export"),
    "evaluate": ("evaluate", "score"),
    "report": ("report",),
    "calibrate": ("calibrate",),
    "judge": ("judge",),
    "rate": ("rate",),
    "talk": ("talk", "speak"),
    "serve": ("serve", "studio"),
    "codes": ("codes",),
    "voice": ("voice",),
    "pipeline": ("pipeline",),
}
"""Module to the commands that it adds, in the order of the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _write_utf8(sys.stdout)
    _write_utf8(sys.stderr)
    try:
        arguments = _parse(list(sys.argv[1:] if argv is None else argv))
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except SystemExit as stop:  # argparse has said why
        code = stop.code if isinstance(stop.code, int) else FAILED
    except (KeyboardInterrupt, Exception) as fault:
        # The last line of defence: a user gets one line, a developer the traceback.
        code = _end(fault)
    return code


def _parse(given: list[str]) -> Namespace:
    given = [_dashed(word) for word in given]
    parser = Parser("osum", description="Understand speech: transcripts, events, emotion, style, gender, age, replies.")
    parser.add_argument("--version", action=ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    wanted = [module for module, names in _COMMANDS.items() if set(given[:1]) & set(names)]
    for module in wanted or _COMMANDS:
        import_module(f"osum.cli.{module}").register(commands)
    _check_command(parser, given, tuple(commands.choices))
    arguments, rest = parser.parse_known_args(given)
    _place_rest(commands.choices[arguments.command], arguments, rest)
    return arguments


def _dashed(word: str) -> str:
    """Whisper's spelling of options, `--output_dir`, is taken for ours, `--output-dir`."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word


def _place_rest(parser: Parser, arguments: Namespace, rest: list[str]) -> None:
    """argparse leaves paths behind an option over, `a.wav -f json b.wav`; anything else left over is a mistake."""
    wrong = [word for word in rest if word.startswith("-") and word != "-"]
    if not wrong and "paths" in arguments:
        arguments.paths = [*arguments.paths, *rest]
    elif rest:
        word = (wrong or rest)[0].split("=")[0]
        options = [part for part in parser.format_help().replace(",", " ").split() if part.startswith("--")]
        near = did_you_mean(word, options)
        parser.error(f"unknown argument {word!r}: {near}{'else ' if near else ''}leave it out")


def _check_command(parser: Parser, given: list[str], known: tuple[str, ...]) -> None:
    """Wrong or missing command, reported in one line with the likely one."""
    if not given:
        parser.print_help(sys.stderr)
        parser.exit(2)
    word = given[0]
    if word.startswith("-") or word in known:
        return
    if Path(word).exists():
        parser.error(f"{word!r} is no command: did you mean 'osum label {word}'?")
    parser.error(f"unknown command {word!r}: {did_you_mean(word, known)}use one of {', '.join(known)}")


def _end(fault: BaseException) -> int:
    """Report in one line why a run stopped; returns its exit code."""
    if os.environ.get("OSUM_DEBUG") == "1":
        import traceback

        traceback.print_exception(fault)
    if isinstance(fault, OSError):
        _drop_output()
    match fault:
        case BrokenPipeError():  # `osum ... | head` is no mistake
            return NO_READER
        case KeyboardInterrupt():
            code, message = INTERRUPTED, "interrupted"
        case UsageError():
            code, message = WRONG_USAGE, f"error: {fault}"
        case OsumError() | OSError():
            code, message = FAILED, f"error: {fault}"
        case _:
            bug = f"{type(fault).__name__}: {fault}"
            code, message = FAILED, f"bug: {bug}; OSUM_DEBUG=1 shows where: please report it"
    if os.environ.get("LOCAL_RANK", "0") != "0" and code != INTERRUPTED:
        time.sleep(SAME_FAULT)
    with suppress(OSError):
        print(f"osum: {' '.join(message.split())}", file=sys.stderr)
    return code


def _drop_output() -> None:
    """Standard output may be what failed: without this Python complains again when it flushes at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write_utf8(stream: TextIO) -> None:
    """Transcripts are Chinese as well, and file names may be of any bytes; neither must stop a run."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", errors="backslashreplace")
