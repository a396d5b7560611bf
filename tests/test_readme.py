"""The front page: short, and equal to what it is made from."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from osum.cli import _parse
from osum.tasks.document import markdown

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = (ROOT / "README.md", ROOT / "docs/labelling.md")
CARD = ROOT / "src/osum/assets/nano/README.md"


def blocks() -> list[str]:
    """What is fenced or indented."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return [*fenced, *(line.strip() for line in re.findall(r"^ {4}(.*)$", README, re.MULTILINE))]


def commands() -> list[str]:
    """The `osum COMMAND ...` lines, those within text too."""
    quoted = [*blocks(), *re.findall(r"`([^`\n]+)`", README)]
    return sorted({text.split(" #")[0].strip() for text in quoted if re.match(r"osum \w[^\n]*$", text)})


def tree() -> list[str]:
    """The paths that the file tree names, from the repository's root."""
    shown = next(block for block in blocks() if block.startswith("samples/"))
    folders: list[str] = []
    paths = []
    for line in shown.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.split(r"\s{2,}", line.strip())[0].split()
        paths += ["".join([*folders[:depth], name]) for name in names]
        folders[depth:] = names[:1]
    return paths


def test_it_fits_on_two_hundred_lines() -> None:
    assert README.count("\n") <= 200


def test_its_table_of_tasks_is_that_of_the_catalogue() -> None:
    page = markdown()
    start = page.index("| task | gives |")
    assert page[start : page.index("\n\n", start)] in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_it_points_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == ([] if CARD.parent.exists() else [str(CARD.relative_to(ROOT))] * len(missing))


def test_its_tree_names_what_is_there() -> None:
    waiting = [] if CARD.parent.exists() else [f"{CARD.parent.relative_to(ROOT)}/"]
    assert "src/osum/cli/" in tree()
    assert [path for path in tree() if path not in waiting and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("command", commands())
def test_the_command_line_takes_what_it_shows(command: str) -> None:
    assert _parse(shlex.split(command)[1:]).run


def test_it_shows_a_good_part_of_the_commands() -> None:
    assert {"label", "train", "data", "convert", "tasks"} <= {shlex.split(command)[1] for command in commands()}


def test_make_knows_the_targets_it_shows() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake (\w+)\s", "\n".join(blocks())))
    assert targets and all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
