"""The way of docs/training.md to a new label, on tiny data: its code and its commands."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
from checkpoints.apart import write_apart

from osum.cli import main

ROOT = Path(__file__).parents[2]
TINY = (
    "steps=2",
    "batches_per_step=1",
    "save_every=2",
    "answered_clips=0",
    "lora_rank=2",
    "dtype=float32",
    "workers=0",
)


def section() -> str:
    page = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    return page[page.index("## A label on a checkpoint that hears already") : page.index("## What learns")]


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty speakers of two accents, a clip each, and one that states none; what is below is run next to it."""
    folder = tmp_path / "kit/real2/commonvoice-en"
    (folder / "audio").mkdir(parents=True)
    rows = []
    for number in range(31):
        tone = np.sin(np.arange(8_000) * (0.02 + 0.01 * (number % 2))).astype(np.float32) * 0.3
        soundfile.write(folder / "audio" / f"{number}.wav", tone, 16_000)
        row = {
            "id": f"cv/{number}",
            "audio": f"audio/{number}.wav",
            "text": "Then whose is it?",
            "speaker": f"s{number}",
        }
        rows.append(row | ({"accent": ("us", "England English")[number % 2]} if number < 30 else {}))
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recordings").symlink_to(folder / "audio")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    return folder


def ran(line: str, *more: str) -> None:
    program, *arguments = shlex.split(line)
    assert program == "osum" and main([*arguments, *more]) == 0, line


@pytest.mark.parametrize("form", ["whole", pytest.param("apart", marks=pytest.mark.slow)])
def test_its_code_and_commands_give_a_label(kit: Path, tiny: Path, tmp_path: Path, form: str) -> None:
    text = section()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(code, {})
    assert len((tmp_path / "accents.jsonl").read_text().splitlines()) == 30
    split, train, label, evaluate = re.findall(r"^ {4}(osum .*)$", text, re.MULTILINE)
    base, model = write_apart(tmp_path / "parts") if form == "apart" else ("", tiny)
    given, of_recipe = (["--base", str(base)], [f"base={base}"]) if form == "apart" else ([], [])
    ran(split)
    ran(train, f"model={model}", *of_recipe, *TINY)
    ran(label, *given, "-o", "labels.jsonl", "--max-new-tokens", "4")
    said = [json.loads(row) for row in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert len(said) == 31 and {row["summary"]["ACCENT"]["label"] for row in said} <= {"american", "british", "indian"}
    ran(evaluate, *given)
    report = json.loads((tmp_path / "results/report.json").read_text())
    assert {"classical", "majority"} <= {found["model"] for found in report["results"]}
