"""The front page: short, equal to what it is made from, and the same in three languages."""

from __future__ import annotations

import re
import shlex
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.generate.tasks import markdown
from osum.cli import _parse
from osum.corpus.manifest import read_manifest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRANSLATED = (ROOT / "README.zh-CN.md", ROOT / "README.ja.md")
PAGES = (ROOT / "README.md", *TRANSLATED, ROOT / "docs/labelling.md", ROOT / "docs/index.md")
CARD = ROOT / "src/osum/assets/nano/README.md"
FIGURE = ROOT / "docs/images/architecture.svg"


def blocks(page: str = README) -> list[str]:
    """What is fenced or indented."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return [*fenced, *(line.strip() for line in re.findall(r"^ {4}(.*)$", page, re.MULTILINE))]


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


def packages() -> set[str]:
    """The folders of the package that hold code."""
    return {f"{path.parent.name}/" for path in (ROOT / "src/osum").glob("*/__init__.py")}


def table_of(page: str, first: str) -> str:
    """The table whose first line begins so."""
    start = page.index(first)
    return page[start : page.index("\n\n", start)]


def shape(page: str) -> list[str]:
    """What a translation keeps: levels of headings, figure, tables by their cells, markers and code."""
    kept = []
    for line in re.sub(r"^```.*?^```", "CODE", page, flags=re.DOTALL | re.MULTILINE).splitlines():
        if line.startswith("|"):
            kept.append(f"row of {line.count('|')}: {re.findall('`[^`]+`', line)}")
        elif found := re.match(r"#+ |!\[|- \*\*|<!-- .*|CODE$", line):
            kept.append(found[0])
    return kept


def test_it_fits_on_two_hundred_lines() -> None:
    assert README.count("\n") <= 200


@pytest.mark.parametrize("page", PAGES[:3], ids=lambda page: page.name)
def test_its_table_of_tasks_is_that_of_the_catalogue(page: Path) -> None:
    assert table_of(markdown(), "| task | gives |") in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_it_points_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == ([] if CARD.parent.exists() else [str(CARD.relative_to(ROOT))] * len(missing))


def test_its_tree_names_what_is_there() -> None:
    waiting = [] if CARD.parent.exists() else [f"{CARD.parent.relative_to(ROOT)}/"]
    assert "src/osum/cli/" in tree()
    assert [path for path in tree() if path not in waiting and not (ROOT / path).exists()] == []


def test_its_tree_names_every_folder_of_the_package() -> None:
    assert {f"src/osum/{name}" for name in packages()} <= set(tree())


def test_its_figure_has_a_box_for_every_folder_of_the_package() -> None:
    spans = ElementTree.parse(FIGURE).iter()
    boxes = {span.text for span in spans if span.get("class") == "name"}
    assert boxes == packages()


def test_the_page_of_architecture_names_files_and_folders_that_are_there() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    there = {path.name for folder in ("src", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")}
    assert {Path(name).name for name in re.findall(r"`([\w/]+\.py)`", page)} <= there
    assert packages() <= set(re.findall(r"^\| `(\w+/)` \|", page, re.MULTILINE))


@pytest.mark.skipif(not CARD.exists(), reason="no checkpoint in the package yet")
def test_its_example_prints_what_it_shows_and_the_event_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    code, shown = blocks()[0], blocks()[1]
    with redirect_stdout(StringIO()) as printed:
        exec(code, {})
    number = re.compile(r"\d\.\d\d")
    assert number.sub("", printed.getvalue()) == number.sub("", shown)
    wanted = [float(word) for word in number.findall(shown)]
    assert [float(word) for word in number.findall(printed.getvalue())] == pytest.approx(wanted, abs=0.02)
    (row,) = [row for row in read_manifest(ROOT / "samples/manifest.jsonl") if f"samples/{Path(row.path).name}" in code]
    assert f"VED {row.labels['event']} " in shown


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_a_translation_has_the_same_blocks(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert shape(text) == shape(README)
    assert blocks(text) == blocks()


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_a_translation_links_to_the_same_pages(page: Path) -> None:
    links = r"\]\(([^)]+)\)"
    ours, translated = (sorted(set(re.findall(links, text))) for text in (README, page.read_text(encoding="utf-8")))
    assert {*translated, page.name} == {*ours, "README.md"}


@pytest.mark.parametrize("command", commands())
def test_the_command_line_takes_what_it_shows(command: str) -> None:
    assert _parse(shlex.split(command)[1:]).run


def test_it_shows_a_good_part_of_the_commands() -> None:
    assert {"label", "train", "data", "convert", "tasks"} <= {shlex.split(command)[1] for command in commands()}


def test_make_knows_the_targets_it_shows() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake (\w+)\s", "\n".join(blocks())))
    assert targets and all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
