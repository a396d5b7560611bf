"""Lays out the pages of the repository for mkdocs: as symbolic links under their own paths, so that every link holds.

    python docs/site.py runs/pages && mkdocs build --strict -f docs/mkdocs.yml      (`make docs` does both)

1. The pages are all Markdown files of `PAGES`.
2. A file that a page links to (code, a recipe, a picture) is laid out next to them. mkdocs checks every link.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
STYLE = ROOT / "docs" / "site.css"
PAGES = ("*.md", "docs/**/*.md", "*/README.md", "recipes/*/README.md", "src/osum/assets/*/README.md")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


def pages() -> Iterator[Path]:
    """Every page, from the repository's root."""
    return (page for pattern in PAGES for page in sorted(ROOT.glob(pattern)))


def linked(page: Path) -> Iterator[Path]:
    """The files that a page links to and that are no pages themselves."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        found = (page.parent / target).resolve()
        if found.is_file() and found.suffix != ".md":
            yield found


def lay_out(folder: Path) -> int:
    """Fill the folder anew and count the pages."""
    shutil.rmtree(folder, ignore_errors=True)
    found = list(pages())
    for path in {STYLE, *found, *(file for page in found for file in linked(page))}:
        place = folder / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path)
    return len(found)


if __name__ == "__main__":
    sys.stdout.write(f"{lay_out(Path(sys.argv[1]).resolve())} pages\n")
