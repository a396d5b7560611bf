import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from osum.corpus.manifest import write_manifest
from osum.evaluation.score.result import BenchmarkResult, Report, write_report
from osum.model import OsumConfig
from osum.scoring import Score
from osum.tasks import OSUM
from osum.training.config import read_recipe
from osum.utterance import Utterance
from recipes.nano import card as nano_card
from recipes.nano import card_facts
from recipes.nano.card import (
    RESULTS,
    RUNS,
    TIMING,
    Facts,
    card,
    figures,
    stage_name,
    timing_block,
    training,
    update_readme,
    update_times,
)
from recipes.nano.card_facts import RunFacts, heard, keep_runs, read_model, read_run, read_sources

ROOT = Path(__file__).parents[2]
CARD = ROOT / "src" / "osum" / "assets" / "nano" / "README.md"
LABELLING = (ROOT / "docs" / "labelling.md").read_text(encoding="utf-8")
TIMES = {
    "machine": {"cpu": "a CPU", "cores": 2, "threads": 2, "torch": "2.13.0"},
    "clips": 13,
    "audio_seconds": 60.0,
    "start": {"import_osum": 0.01, "osum_help": 0.05},
    "cold": [{"tasks": "all", "seconds": 6.0, "peak_mb": 512}],
    "warm": [{"tasks": "all", "batch_size": size, "seconds": 2.0 * size} for size in (1, 8)],
    "sizes": {"checkpoint_mb": 19.5},
}
STATS = {
    split: {"clips": clips, "hours": hours, "clips_by_source": {"fsdd": clips}, "hours_by_source": {"fsdd": hours},
            "labels": {"gender": {"male (real)": 123, "male (synthetic)": 45}, "age": {"adult (real)": 67}}}
    for split, clips, hours in (("train", 1234, 3.21), ("valid", 56, 0.43), ("test", 78, 0.65))
} | {"seed": 9}  # fmt: skip
LOG = (
    {"time": "2026-01-01T00:00:00+00:00", "step": 20, "loss": 2.5, "audio_seconds_per_second": 36.0},
    {"time": "2026-01-01T00:01:00+00:00", "step": 40, "loss": 1.25, "audio_seconds_per_second": 36.0},
    {"time": "2026-01-01T00:01:30+00:00", "step": 40, "valid": {"loss": 1.75}},
    {"time": "2026-01-01T05:00:00+00:00", "step": 60, "loss": 1.125, "audio_seconds_per_second": 36.0},
)
"""Between the last two the run stood still."""


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "nano"
    OsumConfig.preset("nano").save_pretrained(folder)
    save_file({"a": torch.zeros(1000, dtype=torch.bfloat16)}, folder / "model.safetensors")
    (folder / "tasks.json").write_text(json.dumps(OSUM.to_dict()), encoding="utf-8")
    (folder / "progress.json").write_text("not a part of the model", encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    (folder / "step-60").mkdir(parents=True)
    (folder / "step-60" / "progress.json").write_text(json.dumps({"step": 60}), encoding="utf-8")
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, LOG)), encoding="utf-8")
    return folder


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("seed: 17\nstages: {run: {steps: 60}}\n", encoding="utf-8")
    return path


@pytest.fixture
def manifest(tmp_path):
    row = Utterance(
        id="a", path="a", text="two", labels={"gender": "male", "style": "其他"}, source="fsdd",
        licence="CC BY-SA 4.0 (Free Spoken Digit Dataset)", extra={"evidence": "real", "weak": ["style"]},
    )  # fmt: skip
    made = row.with_(id="b", labels={"event": "laugh"}, extra={"evidence": "synthetic", "parts": ["a"]})
    write_manifest(tmp_path / "train.jsonl", [row, made])
    return tmp_path / "train.jsonl"


@pytest.fixture
def facts(model, run, recipe, manifest):
    made = {"run": read_run(run, "a machine")}
    return Facts(read_model(model), read_sources(manifest), STATS, read_recipe(recipe), made, "| a table |")


def kept(path, **changes):
    """A file of one result, as `osum report --keep` writes it."""
    score = Score("accuracy", 0.8181, 431, 0.8070, 0.8292)
    fields = {"score": score, "resampled_by": "speaker", "clips": 431, "failed": 0} | changes
    write_report(path, Report((BenchmarkResult("kit-gender", "nano", "accuracy", **fields),)))
    return path


# Figures


def test_the_figures_are_those_that_were_kept(tmp_path):
    table = figures(kept(tmp_path / "nano.json"))
    assert "| SGC | gender, adults | accuracy % ↑ | 431 | 81.8 [80.7, 82.9] |" in table


@pytest.mark.parametrize("changes", [{"failed": 3}, {"run": {"limit": 5}}])
def test_figures_of_a_part_of_the_clips_are_refused(tmp_path, changes):
    with pytest.raises(SystemExit, match=r"nano on kit-gender: .*measure all clips"):
        figures(kept(tmp_path / "nano.json", **changes))


# Card


def test_sizes_come_from_the_folder_without_what_is_not_the_model(model):
    found = read_model(model)
    assert (found.dtype, found.num_files, found.max_seconds) == ("BF16", 1, 15)
    assert found.megabytes < sum(path.stat().st_size for path in model.iterdir()) / 1e6
    assert sum(found.parameters.values()) == 9_790_208


def test_the_card_shows_the_figures(facts):
    assert "\n\n| a table |\n\n" in card(facts).split("## Figures")[1].split("## Data")[0]


def test_the_card_names_labels_that_nothing_was_learned_of(facts):
    text = card(facts)
    assert "gender: female" in text and "age: child, old" in text
    assert "male 123 + 45" in text


def test_the_card_names_data_split_and_run(facts):
    text = card(facts)
    assert "| 1234 | 3.21 / 0.43 / 0.65 | text, gender, (style) | real | CC BY-SA 4.0" in text
    assert "Split with seed 9" in text and "Train: 1234 clips" in text
    assert "| `seed` | 17 |" in text and "| last training / validation loss | 1.125 / 1.750 |" in text
    assert "| machine | a machine |" in text


def test_the_card_names_no_folder_of_the_machine(facts, tmp_path):
    assert str(tmp_path) not in card(facts)


def test_the_commands_name_the_last_checkpoint_and_every_stage(facts):
    text = card(facts)
    assert "osum export runs/nano/run/step-60 src/osum/assets/nano" in text and "--run runs/nano/run\n" in text


def test_a_stage_that_was_never_made_is_reported(facts):
    with pytest.raises(SystemExit, match="nothing is known of stage 'run': give its folder with --run"):
        training(facts.stages, {})


def test_stages_that_were_made_before_stay_and_one_made_anew_takes_its_place(tmp_path):
    one, two = RunFacts("one", 10, "2 / 3", 1.5, None, "a machine"), RunFacts("two", 20, "1 / 2", None, 0.5)
    again = RunFacts("one", 30, "1 / 1", 2.5, None)
    assert keep_runs(tmp_path / "runs.json", [one, two]) == {"one": one, "two": two}
    assert (
        keep_runs(tmp_path / "runs.json", [again])
        == keep_runs(tmp_path / "runs.json", [])
        == {"one": again, "two": two}
    )


def test_every_stage_of_the_recipe_was_made_as_it_says():
    made = {row["name"]: row["step"] for row in json.loads(RUNS.read_text(encoding="utf-8"))}
    stages = read_recipe(ROOT / "recipes" / "nano" / "nano.yaml")
    assert made == {stage_name(stage): stage.steps for stage in stages}


def test_a_source_that_asks_for_names_must_have_them(manifest, facts):
    assert "Zohar Jackson" in card(facts)
    (source,) = facts.sources.values()
    with pytest.raises(SystemExit, match=r"sources\.yaml"):
        nano_card.attribution({"unknown": source})


def test_pauses_of_a_run_count_neither_as_time_nor_as_audio(run):
    found = read_run(run)
    assert (found.step, found.wall_hours) == (60, pytest.approx(90 / 3600))
    assert found.hours == pytest.approx(36 * 60 / 20 * 60 / 3600)


def test_a_run_of_one_row_has_no_hours():
    assert heard(LOG[:1], 60) == (None, None)


def test_a_folder_without_a_checkpoint_is_no_run(tmp_path):
    with pytest.raises(SystemExit, match="holds no step-N"):
        read_run(tmp_path)


def test_a_source_with_clips_of_many_licences_names_each(manifest):
    rows = [Utterance(id=name, path=name, source="esc10", licence=f"{name} (clip)") for name in ("CC0", "CC-BY")]
    write_manifest(manifest, rows)
    assert card_facts.read_sources(manifest)["esc10"].licence == "CC-BY, CC0"


# README and docs


def test_readme_gets_times_example_and_parameters(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(
        "| `nano` | ? | x |\n<!-- output: label -->\n<!-- /output -->\n<!-- timing -->\n<!-- /timing -->\n",
        encoding="utf-8",
    )
    update_readme(page, 9_790_208, "```\nhello\n```")
    update_times(page, TIMES)
    text = page.read_text(encoding="utf-8")
    assert "| `nano` | 9.8 M | x |" in text and "hello" in text
    assert timing_block(TIMES) in text


def test_times_are_of_one_batch_size():
    block = timing_block(TIMES)
    assert "batches of 8 | all | 16.00 | 3.8" in block and "batches of 1 " not in block


def test_the_example_of_readme_is_run():
    assert nano_card.example_output("```python\nprint(1 + 1)\n```\n") == "```\n2\n```"
    with pytest.raises(SystemExit, match="ZeroDivisionError"):
        nano_card.example_output("```python\n1 / 0\n```\n")


def test_the_docs_show_the_times_that_were_kept():
    times = timing_block(json.loads(TIMING.read_text(encoding="utf-8")))
    assert f"<!-- timing -->\n{times}\n<!-- /timing -->" in LABELLING


@pytest.mark.skipif(not CARD.exists(), reason="no checkpoint in the package yet")
def test_the_card_in_the_package_shows_the_results_that_were_kept():
    assert figures(RESULTS) in CARD.read_text(encoding="utf-8")


def test_the_card_says_that_the_test_split_helped_to_choose():
    for text in (CARD.read_text("utf8"), (ROOT / "recipes/nano/card.template.md").read_text("utf8")):
        assert "**The test split helped to choose this version**" in text.split("## Figures")[1].split("## Data")[0]
