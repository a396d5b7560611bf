"""`osum train`: a recipe to a checkpoint."""

from __future__ import annotations

from argparse import Namespace

from osum.cli.arguments import Subparsers


def register(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser("train", help="train a model by a recipe", description=run.__doc__)
    parser.add_argument("recipe", metavar="RECIPE", help="a YAML file, such as recipes/nano.yaml")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="wins over the recipe: steps=100 tasks.ASR=2")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Train by a recipe; KEY=VALUE wins over the file, the file over the default. Progress goes to standard error."""
    import logging

    from osum.training.config import TrainConfig

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = TrainConfig.load(arguments.recipe, arguments.overrides)
    from osum.training.trainer import Trainer  # a recipe that cannot be read needs no torch

    Trainer(config).run()
    return 0
