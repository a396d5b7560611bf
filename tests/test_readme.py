"""The front page: short, and equal to what it is made from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from osum.tasks.document import markdown

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = (ROOT / "README.md", ROOT / "docs/labelling.md")


def test_it_fits_on_two_hundred_lines() -> None:
    assert README.count("\n") <= 200


def test_its_table_of_tasks_is_that_of_the_catalogue() -> None:
    page = markdown()
    start = page.index("| task | gives |")
    assert page[start : page.index("\n\n", start)] in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_it_points_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    waiting = {"src/osum/assets/nano/README.md", "docs/architecture.md"}
    assert [link for link in links if link not in waiting and not (page.parent / link).exists()] == []
