"""The script that fits the temperatures of `nano`: on which clips, and what it says of them."""

import json
import shutil
import sys
from pathlib import Path

import calibration
import pytest
from calibration import with_truth

from osum.corpus.manifest import read_manifest, write_manifest
from osum.utterance import Utterance

ROOT = Path(__file__).parents[2]


def clip(name, labels, **extra):
    return Utterance(id=name, path="a", labels=labels, speaker=f"s{name}", extra={"evidence": "real", **extra})


def test_only_recordings_of_unseen_speakers_are_asked_and_no_guessed_emotion():
    known = {"gender": "male", "emotion": "neutral", "language": "en", "style": "其他"}
    rows = [
        clip("a", known, weak=["emotion", "style"]),
        clip("b", known, split_note="speaker seen"),
        clip("c", known, kind="string"),
        clip("d", {"event": "laugh"}, weak=["event"]),
        clip("e", known).with_(extra={"evidence": "synthetic"}),
    ]
    assert [(row.id, row.labels, row.language) for row in with_truth(rows)] == [
        ("a", {"gender": "male", "language": "en"}, "en"),
        ("d", {"event": "laugh"}, None),
    ]


def test_the_page_and_the_checkpoint_get_what_was_fitted(tmp_path, monkeypatch, capsys):
    asset = ROOT / "src" / "osum" / "assets" / "nano"
    if not asset.exists():
        pytest.skip("no checkpoint in the package yet")
    model, page = tmp_path / "nano", tmp_path / "page.md"
    shutil.copytree(asset, model)
    page.write_text("<!-- calibration -->\n<!-- /calibration -->\n", encoding="utf-8")
    samples = [row for row in read_manifest(ROOT / "samples" / "manifest.jsonl") if row.labels.get("gender")]
    for split in ("valid", "test"):
        rows = [
            row.with_(id=f"{split}{number}", speaker=f"{split}{number}", extra={"evidence": "real"},
                      path=str(ROOT / "samples" / row.path), labels={"gender": row.labels["gender"]}, language=None)
            for number, row in enumerate(samples[:1] * 50)
        ]  # fmt: skip
        write_manifest(tmp_path / f"{split}.jsonl", rows)
    command = f"x --data {tmp_path} --model {model} --page {page} --write"
    monkeypatch.setattr(sys, "argv", command.split())
    calibration.main()
    assert capsys.readouterr().out.strip() in page.read_text(encoding="utf-8")
    (line,) = (
        line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| SGC, gender | 50, 50")
    )
    tasks = json.loads((model / "tasks.json").read_text(encoding="utf-8"))
    fitted = next(task for task in tasks["tasks"] if task["name"] == "SGC")["temperature"]
    assert f"| {fitted:.2f} |" in line
