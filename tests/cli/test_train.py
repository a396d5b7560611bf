"""Bad input of `osum train`: what stops it is one line, code 2 where the recipe is to blame, else 1; a bad clip costs
itself and is counted."""

from __future__ import annotations

import json
import math
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import date
from pathlib import Path

import pytest
import yaml
from corpus.manifests_of_others import write_lines
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from model.tiny import tiny_model, tiny_processor
from training.conftest import packed_clips

from cli.conftest import Ran, Run
from osum.corpus.manifest import read_manifest, write_manifest
from osum.errors import InputError
from osum.training import checkpoint
from osum.training.config import TrainConfig

Train = Callable[..., Ran]
FAST = {"device": "cpu", "dtype": "float32", "workers": 0, "warmup_steps": 1, "batch_seconds": 2.0}
STEPS = {"steps": 2, "save_every": 1, "log_every": 1, "questions_per_clip": 2, "tasks": {"ASR": 1.0, "SGC": 1.0}}


@contextmanager
def full_beyond(size: int) -> Iterator[None]:
    """No file may grow larger: writing stops in its middle, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good `train.jsonl`, and the `tiny` checkpoint to start from."""
    folder = tmp_path_factory.mktemp("given")
    rows = packed_clips(folder)
    write_manifest(folder / "train.jsonl", rows)
    tiny_model("speech_first").save_pretrained(folder / "tiny")
    tiny_processor("speech_first").save_pretrained(folder / "tiny")
    return folder


@pytest.fixture
def train(osum: Run, sound: Path, tmp_path: Path) -> Train:
    """`osum train` of a recipe of two steps that is right, but for what is changed.

    `largest` is the size beyond which no file can be written.
    """

    def run(*overrides: str, largest: int = resource.RLIM_INFINITY, **changes: object) -> Ran:
        fields = {"data": str(sound), "model": str(sound / "tiny"), "out": str(tmp_path / "run"), **FAST, **STEPS}
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**fields, **changes}), "utf8")
        with full_beyond(largest):
            return osum("train", tmp_path / "recipe.yaml", *overrides)

    return run


def check_told(ran: Ran, *parts: str, code: int = 1) -> None:
    """One line with all of this, and a code."""
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1), ran.err
    assert ran.err.startswith("osum: error: ")
    assert not [part for part in parts if part not in ran.err], ran.err


def names(folder: Path) -> list[str]:
    return [path.name for path in checkpoint.steps(folder)]


def test_a_right_recipe_trains(train: Train, tmp_path: Path) -> None:
    assert train().code == 0
    assert names(tmp_path / "run") == ["step-1", "step-2"]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"lerning_rate": 1}, ["'lerning_rate' is no training option", "did you mean 'learning_rate'?"]),
        ({"learn": "adapter"}, ["learn is 'adapter'", "is none of encoder, adaptor, llm"]),
        ({"learn": "llm+lora"}, ["not both; leave one"]),
        ({"freeze": ["language_model"]}, ["no parameter begins with 'language_model'", "one that does is model."]),
        ({"learn": "adaptor", "freeze": ["model"]}, ["nothing is left to learn"]),
        ({"model": "nanno"}, ["model 'nanno' is unknown", "a checkpoint folder"]),
        ({"model": "no/such/folder"}, ["model 'no/such/folder' is unknown"]),
        ({"model": "preset:nanno"}, ["no such preset", "preset:nano"]),
        ({"model": "preset:nano"}, ["tokenizer is not there", "put one there"]),
        ({"data": "nowhere"}, ["nowhere/train.jsonl cannot be read", "No such file", "give a UTF-8 JSON-lines file"]),
        ({"valid": "gone.jsonl"}, ["gone.jsonl cannot be read", "No such file"]),
        ({"mixture": {"a": "gone.jsonl"}}, ["gone.jsonl cannot be read", "No such file"]),
        ({"mixture": {"a": {"manifst": "x"}}}, ["mixture 'a'", "write {manifest: FILE"]),
        ({"mixture": {"a": {"manifest": "x", "tasks": ["ASRR"]}}}, ["mixture 'a'", "did you mean 'ASR'"]),
        ({"tasks_file": "gone.json"}, ["gone.json cannot be read", "give the tasks.json of a checkpoint"]),
        ({"steps": 0}, ["steps is 0: a whole number from 1 is needed"]),
        ({"keep": 0}, ["keep is 0: a whole number from 1 is needed"]),
        ({"lora_rank": 0}, ["lora_rank is 0: a whole number from 1 is needed"]),
        ({"dtype": "float8"}, ["dtype is 'float8'", "give bfloat16, float16 or float32"]),
        ({"shard": True}, ["shard is true, and there is one process", "start with torchrun"]),
        ({"learning_rate": -1}, ["learning_rate is -1: a number above 0 is needed"]),
        ({"batch_seconds": float("nan")}, ["batch_seconds is nan: a finite number above 0 is needed"]),
        ({"tasks": {"ASR": -1}}, ["tasks.ASR is -1: a number from 0 is needed"]),
        ({"tasks": {"ASR": 0}}, ["tasks is {'ASR': 0.0}: a weight above 0 is needed"]),
        ({"tasks": {"ASRR": 1}}, ["unknown task 'ASRR': did you mean 'ASR'?"]),
        ({"evidence": {"SGC": "rael"}}, ["evidence.SGC is 'rael': give none, real or synthetic; did you mean 'real'?"]),
        ({"best": "waer"}, ["best: 'waer' is unknown: did you mean 'wer'?"]),
        ({"track": ["wandb"]}, ["track: 'wandb' is unknown: the choices are tensorboard, trackio"]),
        ({"prompt_set": "breif", "model": "preset:nano"}, ["prompt_set is 'breif'"]),
        ({"attention": "fast"}, ["attention is 'fast'", "give eager or sdpa"]),
        ({"augmentation": {"sned": 1}}, ["augmentation.sned is unknown: did you mean 'spec'"]),
        ({"out": "/dev/null/x"}, ["Not a directory", "/dev/null/x"]),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
def test_a_recipe_that_cannot_be_is_reported(train: Train, changes: dict[str, object], parts: list[str]) -> None:
    check_told(train(**changes), *parts, code=2)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"tasks": {"SAP": 1.0}}, ["holds no row to train on", "check labels, tasks and weights"]),
        ({"learning_rate": 1e30, "steps": 4}, ["loss is [", "clips [", "lower learning_rate"]),
    ],
)
def test_a_run_that_fails_is_reported(train: Train, changes: dict[str, object], parts: list[str]) -> None:
    check_told(train(**changes), *parts)


GARBAGE = (None, [], [[1]], {"a": {"b": []}}, {1: 2}, math.nan, math.inf, -math.inf, -1, -0.5, 10**40, True, "")
GARBAGE = (
    *GARBAGE,
    "xyzzy",
    "nan",
    "a" * 300,
    "a\0b",
    "\n",
    "[",
    "表",
    date(2024, 2, 29),
    {"xyzzy": "xyzzy"},
    ["xyzzy"],
)
NAMES = ("data", "mixture", "valid", "model", "learn", "freeze", "tasks_file", "prompt_set", "tasks", "evidence")
NAMES = (*NAMES, "augmentation", "attention", "best", "track")
"""Fields whose values are looked up, so that a value of the right kind may be wrong all the same."""


def is_wrong(field: str, value: object) -> bool:
    """Whether a value is wrong for a field, whatever is on this machine."""
    try:
        TrainConfig(**{field: value})
    except InputError:
        return True
    return field in NAMES and "xyzzy" in str(value)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(field.name for field in fields(TrainConfig))), st.sampled_from(GARBAGE))
def test_any_field_set_to_garbage_is_one_line_and_code_2(train: Train, field: str, value: object) -> None:
    assume(is_wrong(field, value))
    ran = train(**{field: value})
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1), (field, value, ran.err)
    assert ran.err.startswith("osum: error: ") and "Traceback" not in ran.err


@pytest.mark.parametrize("recipe", ["steps: 3\nseed: 1\nsteps: 4", "tasks: {ASR: 1, SGC: 2, ASR: 3}"])
def test_a_key_that_stands_twice_is_reported(osum: Run, tmp_path: Path, recipe: str) -> None:
    (tmp_path / "twice.yaml").write_text(recipe, "utf8")
    check_told(osum("train", tmp_path / "twice.yaml"), "stands twice, in lines 1 and", "leave one out", code=2)


def test_an_unknown_key_on_the_command_line_is_reported(train: Train) -> None:
    check_told(train("stpes=3"), "'stpes' is no training option", "did you mean 'steps'?", code=2)


def test_a_folder_that_is_no_checkpoint_is_reported(train: Train, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    check_told(train(model=str(tmp_path / "empty")), f"{tmp_path / 'empty'} cannot be loaded", "give another model")


# Going on


@pytest.mark.parametrize("damage", ["model.safetensors", checkpoint.STATE, checkpoint.PROGRESS])
def test_a_last_checkpoint_that_is_damaged_is_reported_and_costs_only_itself(
    train: Train, tmp_path: Path, damage: str
) -> None:
    train()
    last = tmp_path / "run" / "step-2"
    (last / damage).write_bytes((last / damage).read_bytes()[:100])
    check_told(train(), str(last))
    shutil.rmtree(last)
    assert train().code == 0
    assert names(tmp_path / "run") == ["step-1", "step-2"]


def test_a_changed_recipe_is_reported(train: Train, tmp_path: Path) -> None:
    train()
    parts = ["holds a run with seed=1, the recipe says 2", "continue with the same recipe, or give another out"]
    check_told(train("seed=2", "steps=3"), str(tmp_path / "run"), *parts)
    assert names(tmp_path / "run") == ["step-1", "step-2"]


# Manifests


BROKEN = {
    "a broken line": (b'{"id": "bad",', "not JSON"),
    "no path": (b'{"id": "bad", "text": "x"}', "field 'path' is None"),
    "a missing file": (b'{"id": "bad", "path": "gone.wav", "text": "x"}', "gone.wav"),
    "no UTF-8": (b'{"id": "bad", "path": "x.wav", "text": "\xff"}', "byte 0xff at 40 is not UTF-8"),
    "no length": (b'{"id": "bad", "path": "x.wav", "text": "x", "duration": 0}', "0 s"),
}


def with_line(sound: Path, folder: Path, line: bytes) -> dict[str, object]:
    """A copy of the good manifest with one more line, the ninth."""
    write_manifest(folder / "more.jsonl", read_manifest(sound / "train.jsonl"))
    (folder / "more.jsonl").write_bytes((folder / "more.jsonl").read_bytes() + line + b"\n")
    return {"mixture": {"more": str(folder / "more.jsonl")}}


@pytest.mark.parametrize(("line", "reason"), BROKEN.values(), ids=BROKEN)
def test_training_continues_without_a_bad_line_and_counts_it(
    train: Train, sound: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, line: bytes, reason: str
) -> None:
    assert train(**with_line(sound, tmp_path, line), steps=1).code == 0
    reported = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(reported) == 2 and f"{tmp_path / 'more.jsonl'}:9: " in reported[0] and reason in reported[0]
    assert reported[1].endswith(": 1 of 9 rows")


def test_a_wrong_label_is_reported_and_counted(
    train: Train, sound: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = next(read_manifest(sound / "train.jsonl")).with_(id="bad", labels={"gender": "femal"})
    line = json.dumps(row.to_dict()).encode()
    assert train(**with_line(sound, tmp_path, line), steps=1).code == 0
    assert f"{tmp_path / 'more.jsonl'}:9: gender is 'femal'" in caplog.text and "use one of" in caplog.text
    assert "1 of 9 rows" in caplog.text


def test_a_manifest_of_bad_lines_alone_is_reported(train: Train, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "bad.jsonl", ["{", "["])
    check_told(train(mixture={"bad": str(path)}), str(path), "no line is a JSON object", "not JSON")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_clip_that_goes_missing_costs_itself_even_alone_in_its_batch(
    train: Train, sound: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, workers: int
) -> None:
    line = json.dumps({"id": "bad", "path": "gone.wav", "text": "tone", "duration": 9.0}).encode()
    assert train(**with_line(sound, tmp_path, line), steps=5, workers=workers, save_every=5).code == 0
    reported = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert reported[-1].endswith("(1 clips so far)") and "gone.wav" in reported[-1] and "Traceback" not in reported[-1]


def test_data_that_is_gone_as_a_whole_stops_the_run(train: Train, sound: Path, tmp_path: Path) -> None:
    rows = [{"id": str(n), "path": f"gone/{n}.wav", "text": "tone", "duration": 1.0} for n in range(9)]
    path = write_lines(tmp_path / "gone.jsonl", rows)
    ran = train(mixture={"gone": str(path)}, steps=100, save_every=100, workers=1)
    check_told(ran, "no clip of 20 batches in a row", "gone/")
    assert not names(tmp_path / "run")


@pytest.mark.parametrize("through_index", [True, False], ids=["indexed", "tar alone"])
def test_a_shard_cut_in_half_costs_its_other_half(
    osum: Run, train: Train, sound: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, through_index: bool
) -> None:
    osum("data", "shard", sound / "train.jsonl", tmp_path / "shards")
    tar = next((tmp_path / "shards").glob("*.tar"))
    tar.write_bytes(tar.read_bytes()[: tar.stat().st_size // 2])
    manifest = tmp_path / "shards" if through_index else tar
    assert train(mixture={"half": str(manifest)}, steps=8, save_every=8).code == 0
    assert str(tar) in caplog.text and "cut off" in caplog.text
    assert ("clips so far" if through_index else "left out, broken line: 1 of") in caplog.text


# A disk that fills


@pytest.mark.parametrize("file", ["model.safetensors", checkpoint.STATE])
def test_a_disk_that_fills_during_a_save_is_reported_and_costs_no_checkpoint(
    train: Train, tmp_path: Path, file: str
) -> None:
    train("steps=1")
    size = (tmp_path / "run" / "step-1" / file).stat().st_size
    check_told(train(largest=size - 1), f"{tmp_path / 'run' / 'step-2'} cannot be written", "make room and start again")
    assert names(tmp_path / "run") == ["step-1"] and not list((tmp_path / "run").glob(".*.partial"))
    assert train().code == 0 and names(tmp_path / "run") == ["step-1", "step-2"]


def test_a_log_that_cannot_be_written_is_reported_and_continues(train: Train, tmp_path: Path) -> None:
    train("steps=1")
    log = tmp_path / "run" / "log.jsonl"
    check_told(train(largest=log.stat().st_size + 10), str(log), "make room and start again")
    assert names(tmp_path / "run") == ["step-1"]
    assert train().code == 0
    whole = [json.loads(line) for line in log.read_text("utf8").splitlines() if line.endswith("}")]
    assert [row["step"] for row in whole if "loss" in row] == [1, 2]
