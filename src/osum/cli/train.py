"""`osum train`: a recipe to a checkpoint. `osum export`: a checkpoint of a run to a folder for use."""

from __future__ import annotations

from argparse import Namespace

from osum.cli.arguments import DTYPE_NAMES, DTYPES, Subparsers, one_of
from osum.errors import OsumError


def register(commands: Subparsers) -> None:
    """Add both commands."""
    parser = commands.add_parser("train", help="train a model by a recipe", description=run.__doc__)
    parser.add_argument("recipe", metavar="RECIPE", help="a YAML file, such as recipes/nano/nano.yaml")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="wins over the recipe: steps=100 tasks.ASR=2")
    parser.set_defaults(run=run)
    parser = commands.add_parser("export", help="a training checkpoint for use", description=run_export.__doc__)
    parser.add_argument("checkpoint", metavar="STEP_FOLDER", help="a step-N folder of a run")
    parser.add_argument("out", metavar="OUT", help="folder to write")
    parser.add_argument(
        "--dtype",
        type=one_of("dtype", (*DTYPES, "int8"), DTYPE_NAMES),
        help="of the weights as stored; that of the checkpoint without it",
    )
    parser.set_defaults(run=run_export)


def run(arguments: Namespace) -> int:
    """Train by a recipe; KEY=VALUE wins over the file, the file over the default. Progress goes to standard error."""
    import logging

    from osum.training.config import read_recipe

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("osum").setLevel(logging.INFO)  # ours alone: what others log is no news of a run
    stages = read_recipe(arguments.recipe, arguments.overrides)
    from transformers.utils import logging as transformers_logging

    from osum.training.trainer import train  # a recipe that cannot be read needs no torch

    transformers_logging.disable_progress_bar()  # of loading and saving, in the middle of ours
    try:
        train(stages)
    except FloatingPointError as fault:
        raise OsumError(str(fault)) from fault
    return 0


def run_export(arguments: Namespace) -> int:
    """Write model, processor and tasks of a training checkpoint, without what only resuming needs; LoRA is merged."""
    import torch

    from osum.checkpoints.export import export

    dtype = getattr(torch, arguments.dtype) if arguments.dtype else None
    print(export(arguments.checkpoint, arguments.out, dtype))
    return 0
