import re
from pathlib import Path

from docs.generate.tasks import markdown
from osum.tasks import ECHAT, OSUM

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == markdown(), "run: python -m docs.generate.tasks > docs/tasks.md"


def test_the_page_shows_what_only_echat_answers():
    _, page = PAGE.read_text(encoding="utf-8").split("## What OSUM-EChat answers as well")
    assert all(f"| {name} | {ECHAT[name].title} | `{ECHAT[name].tag}` |" in page for name in ECHAT if name not in OSUM)


def test_the_example_of_a_label_of_ones_own_runs():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(code, {})
