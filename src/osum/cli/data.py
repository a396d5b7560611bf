"""`osum data`: builds training data."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from osum.cli.arguments import Parser, Subparsers, positive


def register(commands: Subparsers) -> None:
    """Add the command."""
    data = commands.add_parser("data", help="build training data", description="Build training data.")
    sets = data.add_subparsers(title="data sets", metavar="SET", required=True, parser_class=Parser)
    nano = sets.add_parser("nano", help="of the checkpoint inside the package", description=run_nano.__doc__)
    nano.add_argument("--kit", type=Path, required=True, metavar="DIR", help="folder with real/, text/ and smoke/")
    nano.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    nano.add_argument("--seed", type=int, default=1, help="of splits, voices and mixtures (default 1)")
    nano.add_argument("--processes", type=positive, default=2, help="that decode and speak (default 2)")
    nano.set_defaults(run=run_nano)


def run_nano(arguments: Namespace) -> int:
    """Build the training data of nano: recordings, synthetic speech and mixtures, with splits by speaker."""
    import json
    import logging

    from osum.data.nano import build
    from osum.errors import InputError

    if not arguments.kit.is_dir():
        raise InputError(f"--kit {arguments.kit} is no folder: give the one with real/, text/ and smoke/")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stats = build(arguments.kit, arguments.out, arguments.seed, num_processes=arguments.processes)
    print(json.dumps(stats, ensure_ascii=False, indent=1))
    return 0
