"""A corpus in the forms of others, read back by their readers or by ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from osum.corpus.clips import ClipAudio
from osum.corpus.manifest import read_manifest
from osum.corpus.readers import Line, Manifest
from osum.corpus.tables import table_lines
from osum.errors import InputError
from osum.pipeline.exports import FORMS, ExportOptions, export
from osum.pipeline.run import run
from osum.utterance import Utterance
from pipeline.stage import plan

SAMPLES = Path(__file__).parents[2] / "samples/manifest.jsonl"
WANTED = ("en_jfk", "en_child_boy", "zh_sentence_2")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips with new sound in tars, of which two have a gender."""
    out = tmp_path_factory.mktemp("run") / "out"
    rows = [row for row in read_manifest(SAMPLES) if row.id.rpartition("/")[2] in WANTED]
    run(plan("test-gain"), [Line(row.id, row) for row in rows], out)
    return out / "corpus"


def given(corpus: Path) -> list[Utterance]:
    return [line.utterance for line in Manifest(corpus) if line.utterance]


def same_sound(one: Utterance, other: Utterance) -> bool:
    return bool(np.array_equal(ClipAudio().read(one), ClipAudio().read(other)))


@pytest.mark.parametrize("form", ["lhotse", "original-raw", "original-shard"])
def test_a_form_is_read_back_with_its_sound_and_text(corpus: Path, tmp_path: Path, form: str) -> None:
    assert export(corpus, form, tmp_path / "to") == 3
    files = {"lhotse": "cuts.jsonl", "original-raw": "data.list", "original-shard": "shards_list.txt"}
    path = tmp_path / "to" / files[form]
    kind = {"lhotse": "lhotse", "original-raw": "original", "original-shard": None}[form]
    back = [line.utterance for line in Manifest(path, kind)]
    for ours, theirs in zip(given(corpus), back, strict=True):
        assert theirs is not None and same_sound(ours, theirs)
        assert (theirs.text or "").lower() == (ours.text or "").lower() and theirs.language == ours.language


def test_combined_metadata_stand_next_to_the_tars(corpus: Path, tmp_path: Path) -> None:
    export(corpus, "original-combine", tmp_path / "to")
    (name,) = (tmp_path / "to/combines_list.txt").read_text().split()
    rows = [json.loads(line) for line in Path(name).read_text("utf-8").splitlines()]
    assert [row["key"] for row in rows] == ["000000000", "000000001", "000000002"]
    assert Path(name).with_suffix(".tar").exists() and rows[0]["task"] == "<TRANSCRIBE>"


def test_only_rows_that_can_answer_the_task_are_in_the_originals_forms(corpus: Path, tmp_path: Path) -> None:
    wanted = [row for row in given(corpus) if "gender" in row.labels]
    assert export(corpus, "original-raw", tmp_path / "to", ExportOptions(task="SGC")) == len(wanted) == 2
    (first, *_) = (tmp_path / "to/data.list").read_text("utf-8").splitlines()
    assert json.loads(first)["txt"].endswith(f"<{wanted[0].labels['gender']}>")
    with pytest.raises(InputError, match="no row that form original-raw can hold"):
        export(corpus, "original-raw", tmp_path / "none", ExportOptions(task="SSR"))


def test_parquet_has_a_column_that_datasets_decode_and_comes_back(corpus: Path, tmp_path: Path) -> None:
    assert export(corpus, "parquet", tmp_path / "to") == 3
    path = tmp_path / "to/data/train-00000.parquet"
    features = json.loads(pyarrow.parquet.read_schema(path).metadata[b"huggingface"])["info"]["features"]
    assert features["audio"] == {"sampling_rate": 16_000, "_type": "Audio"}
    back = [line.utterance for line in table_lines(path)]
    for ours, theirs in zip(given(corpus), back, strict=True):
        assert theirs is not None and same_sound(ours, theirs)
        assert (theirs.id, theirs.text, theirs.speaker) == (ours.id, ours.text, ours.speaker)


def test_label_studio_gets_predictions_and_files(corpus: Path, tmp_path: Path) -> None:
    assert export(corpus, "label-studio", tmp_path / "to", ExportOptions(url="/data/local-files/?d=x/")) == 3
    tasks = json.loads((tmp_path / "to/tasks.json").read_text("utf-8"))
    for ours, task in zip(given(corpus), tasks, strict=True):
        name = task["data"]["audio"].removeprefix("/data/local-files/?d=x/")
        assert same_sound(ours, Utterance("a", str(tmp_path / "to" / name)))
        values = {item["from_name"]: item["value"] for item in task["predictions"][0]["result"]}
        assert values["transcription"] == {"text": [ours.text]}
        assert all(values[label_set] == {"choices": [label]} for label_set, label in ours.labels.items())


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"dialogues"}))
def test_nothing_is_written_over(corpus: Path, tmp_path: Path, form: str) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to/mine").touch()
    with pytest.raises(InputError, match="is there already"):
        export(corpus, form, tmp_path / "to")
