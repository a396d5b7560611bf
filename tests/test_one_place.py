"""What has one place in the package is written nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "osum"


@pytest.mark.parametrize(
    ("what", "pattern", "places"),
    [
        ("which characters are Chinese", r"\\u4e00|\\u9fff|一-鿿|[\"']一[\"']", {"text.py"}),
        ("the nearest spelling", r"get_close_matches|did you mean \{", {"text.py"}),
        ("a file that appears whole", r"name\}\.partial|os\.replace|mkstemp", {"files.py"}),
    ],
)
def test_one_thing_is_defined_in_one_place(what: str, pattern: str, places: set[str]) -> None:
    found = {
        str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if re.search(pattern, path.read_text("utf-8"))
    }
    assert found == places, what
