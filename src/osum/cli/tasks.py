"""`osum tasks`: what a model can be asked."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from osum.cli.arguments import Subparsers, log

if TYPE_CHECKING:
    from osum import Task, TaskSet

EVIDENCE = {"real": "real speech", "synthetic": "synthetic speech", "none": "nothing", None: "not said"}


def register(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser("tasks", help="what a model can be asked", description=run.__doc__)
    parser.add_argument("--model", default="nano", help="nano, a checkpoint folder, or owner/name")
    parser.add_argument("--offline", action="store_true", help="never fetch anything")
    parser.add_argument("--json", action="store_true", help="the checkpoint's tasks.json, prompts and all")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Show the tasks that a checkpoint carries, their labels, and what it learned them from."""
    from osum.checkpoints.locate import locate, read_tasks

    tasks = read_tasks(locate(arguments.model, arguments.offline, log))
    if arguments.json:
        import json

        print(json.dumps(tasks.to_dict(), ensure_ascii=False, indent=1))
    else:
        _show(tasks)
    return 0


def _show(tasks: TaskSet) -> None:
    import sys

    from rich.console import Console
    from rich.table import Table

    shown = Table("task", "gives", "labels", "learned from")
    for task in tasks.values():
        shown.add_row(task.name, task.title, _labels(task), EVIDENCE[task.evidence])
    width = None if sys.stdout.isatty() else 160
    Console(file=sys.stdout, width=width).print(shown)


def _labels(task: Task) -> str:
    return "; ".join(", ".join(map(labels.title, labels.labels)) for labels in task.label_sets)
