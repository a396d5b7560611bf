"""docs/architecture.md names the rooms in the order of their imports, and the files of each way where they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_import_order import ORDER

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
WAYS = ("From a file to its row", "From a row to its loss", "From a benchmark to its score")


def steps(way: str) -> list[str]:
    """The numbered steps of a way."""
    section = PAGE.partition(f"### {way}\n")[2].partition("\n#")[0]
    return re.findall(r"^\d\. (.*?)(?=^\d\. |^$|\Z)", section, re.DOTALL | re.MULTILINE)


def test_the_rooms_stand_in_the_order_of_their_imports() -> None:
    listed = re.findall(r"\w+", PAGE.partition("```\n")[2].partition("```")[0])
    assert listed == [box for box in ORDER if box != "__main__"]


@pytest.mark.parametrize("way", WAYS)
def test_every_step_of_a_way_names_its_room_and_files_that_are_in_it(way: str) -> None:
    assert len(steps(way)) >= 6
    for step in steps(way):
        rooms = [ROOT / "src/osum" / room for room in re.findall(r"`([a-z/]+)/", step)]
        assert rooms and all(room.is_dir() for room in rooms), step
        for name in re.findall(r"`(?:[a-z]+/)*(\w+\.(?:py|yaml))`", step):
            assert any((room / name).is_file() for room in rooms), f"{name}: {step}"
