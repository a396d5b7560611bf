"""The studio in a real browser, as its tests open it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parents[2] / "samples"
CLIP = SAMPLES / "en_word_times.flac"
MIC_RATE = 48_000
DESK, PHONE = (1280, 900), (390, 844)
READY = 180_000  # ms until an answer is there, on a slow machine
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip


def chromium() -> str | None:
    """A browser of the system; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("OSUM_CHROMIUM") or next((path for name in names if (path := shutil.which(name))), None)


class Watched:
    """A page, and all that it asked for and wrote to the console."""

    def __init__(self, page: Any, home: str) -> None:
        self.page, self.home = page, home
        self.strangers: list[str] = []
        self.faults: list[str] = []
        page.on("request", lambda request: self._asked(request.url))
        page.on("pageerror", lambda fault: self.faults.append(str(fault)))
        page.on("console", lambda line: line.type in ("error", "warning") and self.faults.append(line.text))

    def _asked(self, url: str) -> None:
        if not url.startswith((f"{self.home}/studio", "blob:", "data:")):
            self.strangers.append(url)

    def check(self) -> None:
        assert (self.strangers, self.faults) == ([], [])


def opened(browser: Any, studio: str, size: tuple[int, int] = DESK, **options: Any) -> Watched:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, locale="en-US", **options)
    context.set_default_timeout(READY)
    watched = Watched(context.new_page(), studio)
    watched.page.goto(f"{studio}/studio")
    watched.page.wait_for_selector("body[data-ready]")
    return watched


def upload(page: Any, file: Any = CLIP) -> None:
    page.set_input_files("#file", file)
    page.wait_for_selector(".tasks", timeout=READY)


def until(page: Any, condition: str, arg: Any = None) -> None:
    """Wait until a JavaScript expression, or function of `arg`, is true; playwright's own wait would need `eval`."""
    end = time.monotonic() + READY / 1000
    while not page.evaluate(condition, arg):
        assert time.monotonic() < end, f"never true: {condition}"
        page.wait_for_timeout(30)


def visit(page: Any, view: str) -> None:
    page.click(f"nav a[href='#{view}']")


def reviewing(page: Any) -> None:
    visit(page, "review")
    page.wait_for_selector(".editor textarea")
    page.locator("input[autocomplete=name]").fill("anna")
    page.locator("input[autocomplete=name]").press("Tab")
    page.evaluate("document.activeElement.blur()")


CURRENT = """name => !document.querySelector('[aria-busy]')
  && document.querySelector('[aria-current=true] .id')?.textContent === name
  && document.querySelector('.editor h2')?.textContent === name"""


def until_current(page: Any, name: str) -> None:
    until(page, CURRENT, arg=name)
