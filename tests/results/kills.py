"""Runs that are killed, forked from a process that has no threads and has loaded what they need.

`operations` kills a run at every file operation, one after the other; `moments` kills `osum WORD ...` again and again,
until it ends. Both write one JSON object per line to a file; `test_kill` judges.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from killing import die

from osum.results import parts
from osum.results.parts import JsonLines, RowParts
from osum.utterance import Utterance

NUM_ITEMS, SIZE = 20, 3
ITEMS = [Utterance(id=str(number), path=f"/corpus/{number}.wav") for number in range(NUM_ITEMS)]
ASKED = {"model": "m"}
SEED = 3
NUM_KILLS = 3


def label(path: Path, items: list[Utterance], note: Callable[[str], None]) -> None:
    """What `osum label -o PATH --resume` does with its rows; every fourth is an error."""
    store = RowParts(path, JsonLines(), SIZE)
    (store.resume if store.begun else store.start)(ASKED)
    missing, _ = store.missing(items)
    note(f"{len(missing)}\n")
    for item in missing:
        number = int(item.id)
        note("+")
        store.add(item.with_(error="broken") if number % 4 == 3 else item.with_(text=f"text {number}"))
    store.merge()


Report = Callable[[dict[str, Any]], None]


def forked(act: Callable[[], Any]) -> int:
    """The process id of a fork that does something and ends."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        code = act() or 0
    finally:
        os._exit(code)


def killed_run(path: Path, fatal: int) -> tuple[bool, int]:
    """Whether the run was killed before its end, and how many rows it had taken."""
    reader, writer = os.pipe()

    def act() -> None:
        die(path.parent, fatal)
        label(path, ITEMS, lambda text: os.write(writer, text.encode()) and None)

    child = forked(act)
    os.close(writer)
    with os.fdopen(reader) as reported:
        taken = reported.read().count("+")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0, taken


def killed_at_operations(root: Path, num_before: int, report: Report) -> None:
    """Kill at each operation of a run over a file that holds `num_before` rows already, and continue."""
    parts.SMALL = 3  # so that small parts become large ones as well
    for fatal in range(1, 10_000):
        path = root / f"{num_before}-{fatal}" / "rows.jsonl"
        path.parent.mkdir(parents=True)
        if num_before:
            label(path, ITEMS[:num_before], lambda _: None)
        killed, taken = killed_run(path, fatal)
        reported: list[str] = []
        label(path, ITEMS, reported.append)
        lines = path.read_text().splitlines()
        left = [item.name for item in (path.parent / ".rows.jsonl.parts").iterdir()]
        lost = int(reported[0]) - (NUM_ITEMS - num_before - taken)
        row = {"fatal": fatal, "killed": killed, "lost": lost, "lines": lines, "left": left}
        report({**row, "names": sorted(item.name for item in path.parent.iterdir())})
        shutil.rmtree(path.parent)
        if not killed:
            return


def killed_at_moments(root: Path, words: list[str], report: Report) -> None:
    """Run `osum WORDS -o rows.jsonl --resume`, killed whenever some more rows are there, and once whole."""
    from osum.cli import main
    from osum.listening import run  # noqa: F401 - so that no fork has to load torch

    chance = random.Random(SEED)
    folder = root / ".rows.jsonl.parts"
    command = [*words, "-o", str(root / "rows.jsonl"), "--resume", "--quiet"]
    kills = 0
    while not (root / "rows.jsonl").exists():
        child = forked(lambda: main(command))
        goal = len(list(folder.glob("part-*"))) + chance.randint(0, 3)
        while os.waitpid(child, os.WNOHANG)[0] == 0:
            if len(list(folder.glob("part-*"))) >= goal and kills < NUM_KILLS:
                time.sleep(chance.uniform(0, 0.05))
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                kills += 1
                break
            time.sleep(0.005)
    whole = forked(lambda: main([*words, "-o", str(root / "whole.jsonl"), "--quiet"]))
    os.waitpid(whole, 0)
    report({"kills": kills})


def reporting(path: Path) -> Report:
    """Append rows to a file, and what this process prints on stderr to another."""
    with path.with_suffix(".err").open("a") as errors:
        os.dup2(errors.fileno(), 2)

    def report(row: dict[str, Any]) -> None:
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    return report


def operations(root: Path, found: Path) -> None:
    report = reporting(found)
    for num_before in (0, 8):
        killed_at_operations(root, num_before, report)


def moments(root: Path, found: Path, words: list[str]) -> None:
    killed_at_moments(root, words, reporting(found))
