"""`osum pipeline`: a plan over real clips, its card, and how wrong usage ends."""

from __future__ import annotations

from pathlib import Path

from cli.conftest import Run

SAMPLES = Path(__file__).parents[2] / "samples"
PLAN = "name: little\nsteps: [decode, {cut: {longest: 6}}, quality, loudness]\nrows_per_shard: 5\n"


def test_a_run_writes_corpus_page_and_card(osum: Run, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN)
    ran = osum("pipeline", "run", tmp_path / "plan.yaml", "--data", SAMPLES, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "02-cut left out" in ran.err and "report.html and README.md written" in ran.err
    assert osum("data", "validate", tmp_path / "out/corpus").code == 0
    card = osum("pipeline", "card", tmp_path / "out")
    assert (card.code, card.out) == (0, f"{tmp_path / 'out/README.md'}\n")


def test_a_folder_of_recordings_is_a_corpus_too(osum: Run, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("name: little\nsteps: [decode]\n")
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/deep/a.flac").write_bytes((SAMPLES / "laugh_1.flac").read_bytes())
    assert osum("pipeline", "run", tmp_path / "plan.yaml", "--data", tmp_path / "in", "-o", tmp_path / "out").code == 0
    assert '"id": "deep/a"' in (tmp_path / "out/corpus/shard-000000.jsonl").read_text()


def test_a_broken_plan_is_wrong_usage(osum: Run, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("name: little\nsteps: [decod]\n")
    ran = osum("pipeline", "run", tmp_path / "plan.yaml", "--data", SAMPLES, "--out", tmp_path / "out")
    assert ran.code == 2 and "did you mean 'decode'" in ran.err and not (tmp_path / "out").exists()


def test_data_that_is_missing_is_one_line(osum: Run, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN)
    ran = osum("pipeline", "run", tmp_path / "plan.yaml", "--data", tmp_path / "no", "--out", tmp_path / "out")
    assert ran.code == 1 and "does not exist: name a manifest" in ran.err


def test_every_step_is_listed_with_its_options(osum: Run) -> None:
    out = osum("pipeline", "steps").out
    assert "cut  Cut recordings at pauses" in out and "    longest: 30.0" in out
