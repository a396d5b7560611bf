"""`osum label` behind transcripts that are given, with the packaged model."""

from __future__ import annotations

from pathlib import Path

from cli.conftest import Run
from osum.corpus.manifest import read_manifest


def test_labels_are_scored_behind_given_transcripts(osum: Run, tmp_path: Path) -> None:
    """Those of the model itself, asked as a transcriber, give the labels that decoding gives."""
    samples = Path(__file__).parents[2] / "samples"
    clips = [samples / name for name in ("en_child_boy.flac", "laugh_1.flac")]
    asked = ("--tasks", "ASR,VED,SGC,SAP", "--device", "cpu")
    assert osum("label", *clips, *asked, "-o", tmp_path / "decoded.jsonl").code == 0
    assert osum("label", *clips, *asked, "-o", tmp_path / "written.jsonl", "--transcriber", "nano").code == 0
    given = ("--transcript", "given")
    assert osum("label", tmp_path / "decoded.jsonl", *asked, "-o", tmp_path / "given.jsonl", *given).code == 0
    decoded, written, own = (
        list(read_manifest(tmp_path / f"{name}.jsonl")) for name in ("decoded", "written", "given")
    )
    for rows in (written, own):
        assert [(row.text, row.labels, row.text_from) for row in rows] == [
            (row.text, row.labels, "nano") for row in decoded
        ]
