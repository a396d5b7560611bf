"""What docs/training.md shows runs, and names what there is."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from osum.cli import _parse, main
from osum.corpus.manifest import read_manifest
from osum.tasks import TaskSet
from osum.training.config import read_recipe
from osum.training.learn import parts_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/training.md").read_text("utf8")
COMMANDS = re.findall(r"^ {4}(osum .*)$", PAGE, re.MULTILINE)


def test_the_example_of_a_label_of_ones_own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    exec(compile(example, "docs/training.md", "exec"), {})
    (row,) = read_manifest("all.jsonl")
    assert TaskSet.load(Path("tasks.json"))["PITCH"].render(row) == "good morning<low>"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_takes_what_it_shows(command: str) -> None:
    arguments = _parse(shlex.split(command)[1:])
    if command.startswith("osum train"):
        assert read_recipe(ROOT / arguments.recipe, arguments.overrides)[-1].out.startswith("runs/")


def test_the_recipe_debug_goes_all_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Data, training, evaluation, labels: from the packaged model and the clips of the repository."""
    data, out, scores = tmp_path / "data", tmp_path / "out", tmp_path / "scores"
    assert (
        main(["data", "split", str(ROOT / "samples/manifest.jsonl"), str(data), "--valid", "0.3", "--test", "0"]) == 0
    )
    assert main(["train", str(ROOT / "recipes/debug.yaml"), f"data={data}", f"out={out}"]) == 0
    asked = ["--benchmark", "samples-event", "--data", str(ROOT), "--model", str(out / "step-4"), "-o", str(scores)]
    assert main(["evaluate", *asked]) == 0
    (result,) = json.loads((scores / "report.json").read_text("utf8"))["results"]
    assert result["benchmark"] == "samples-event" and result["clips"] == 4
    assert main(["label", str(ROOT / "samples/laugh_1.flac"), "--model", str(out / "step-4"), "-f", "json"]) == 0
    assert '"laugh"' in capsys.readouterr().out


def test_its_table_names_stages_that_there_are() -> None:
    stages = re.findall(r"^\| `([a-z+]+)` \| .* M \|$", PAGE, re.MULTILINE)
    assert len(stages) == 5 and all(parts_of(stage) for stage in stages)


def test_its_memory_is_that_of_its_parameters() -> None:
    """2 bytes a frozen parameter, 16 one that learns; 8.0 B parameters less what the release does not use.

    In 4 bit: half a byte and the float32 factor of a block of 64, for the 6.525 B of the language model's layers.
    """
    found = re.findall(r"\| (.*) \| ([\d.]+) GB \| ([\d.]+) GB \| ([\d.]+) GB \|", PAGE)
    assert len(found) == 5
    for recipe, frozen, learns, together in found:
        saved = 6.525 * (2 - 0.5 - 4 / 64) if "nf4" in recipe else 0.0
        assert float(together) == pytest.approx(float(frozen) + float(learns), abs=0.15)
        assert (float(frozen) + saved) / 2 + float(learns) / 16 == pytest.approx(7.98, abs=0.07)
