"""Imports go one way: a box imports only boxes to its left. Walks the source, imports nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "osum"
BOXES = """
    errors files decoders audio text records utterance tasks scoring results model checkpoints speech corpus
    engine listening dialogue peers evaluation pipeline training server cli __main__
"""
ORDER = BOXES.split()
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
ROOMS = ["sets", "run", "judge", "score", "report"]
"""Of `evaluation`, in the same sense."""
LAZY = {"cli", "__main__"}
"""Boxes that may import inside functions, so that `osum --help` is quick."""


def box_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def internal_imports(tree: ast.AST, path: Path) -> Iterator[tuple[ast.AST, str]]:
    """Yield (node, dotted name behind `osum.`) for every import of osum's own modules."""
    package = ("osum", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            module = ".".join(part for part in (above, node.module) if part)
            names = [f"{module}.{alias.name}" for alias in node.names]
        yield from ((node, name.removeprefix("osum.")) for name in names if name.split(".")[0] == "osum")


@cache
def imported(path: Path) -> tuple[str, ...]:
    return tuple(name for _, name in internal_imports(ast.parse(path.read_text()), path))


@cache
def arrows() -> set[tuple[str, str]]:
    found = {(box_of(path), name.split(".")[0]) for path in MODULES for name in imported(path)}
    return {(here, there) for here, there in found if here != there}


def test_every_module_is_in_a_box_of_the_order() -> None:
    assert {box_of(path) for path in MODULES} <= set(ORDER)


def test_a_box_imports_only_boxes_to_its_left() -> None:
    assert {
        (here, there) for here, there in arrows() if there in ORDER and there not in ORDER[: ORDER.index(here)]
    } == set()


def test_only_the_command_line_imports_public_names_from_the_root() -> None:
    assert {(here, there) for here, there in arrows() if there not in ORDER and here not in LAZY} == set()


def test_the_model_knows_only_the_errors_and_what_a_character_is() -> None:
    assert {there for here, there in arrows() if here == "model"} <= {"errors", "text"}


def test_training_pipeline_and_server_do_not_know_each_other() -> None:
    assert not arrows() & {
        pair for a, b in combinations(("training", "pipeline", "server"), 2) for pair in ((a, b), (b, a))
    }


def test_a_room_of_evaluation_imports_only_rooms_to_its_left() -> None:
    assert {path.name for path in (PACKAGE / "evaluation").iterdir() if path.is_dir()} - {"__pycache__"} == set(ROOMS)
    wrong = set()
    for path in (path for path in MODULES if box_of(path) == "evaluation"):
        here = path.relative_to(PACKAGE / "evaluation").parts[0]
        right = ROOMS[ROOMS.index(here) + 1 :] if here in ROOMS else ROOMS
        wrong |= {(here, name) for name in imported(path) for there in right if name.startswith(f"evaluation.{there}.")}
    assert wrong == set()


def test_no_two_boxes_import_each_other() -> None:
    assert {(here, there) for here, there in arrows() if (there, here) in arrows()} == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_own_modules_are_imported_at_the_top(path: Path) -> None:
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    hidden = [node.lineno for function in functions for node, _ in internal_imports(function, path)]
    assert not hidden or box_of(path) in LAZY
