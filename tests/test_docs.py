"""The docs as a site: every link and every anchor of every page holds."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def lay_out(folder: Path) -> int:
    """`docs/site.py`, which is a script and not a module of the package."""
    spec = importlib.util.spec_from_file_location("docs_site", DOCS / "site.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.lay_out(folder)


def build(pages: Path, site: Path) -> None:
    """What `make docs` does."""
    mkdocs = pytest.importorskip("mkdocs.commands.build")
    config = pytest.importorskip("mkdocs.config")
    with (DOCS / "mkdocs.yml").open("rb") as file:
        mkdocs.build(config.load_config(file, docs_dir=str(pages), site_dir=str(site), strict=True))


def test_every_link_and_anchor_of_the_docs_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    assert lay_out(tmp_path / "pages") > 20
    build(tmp_path / "pages", tmp_path / "site")
    assert "Labelling" in (tmp_path / "site/docs/labelling.html").read_text(encoding="utf-8")


def test_links_that_do_not_hold_stop_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    lay_out(tmp_path / "pages")
    page = tmp_path / "pages/docs/reports.md"
    text = page.read_text(encoding="utf-8")
    page.unlink()
    page.write_text(
        f"{text}\n[a page](nowhere.md) [an anchor](#nothing) [of a page](data.md#nothing)\n", encoding="utf-8"
    )
    with pytest.raises(Exception, match="3 warnings in strict mode"):
        build(tmp_path / "pages", tmp_path / "site")
