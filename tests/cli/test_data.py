"""`osum data`: manifests in, manifests and shards out; one line for each fault, and an exit code that says so."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from corpus.manifests_of_others import noise, write_clip, write_lines

from cli.conftest import Run
from osum.cli import data
from osum.corpus import readers
from osum.corpus.clips import ClipAudio
from osum.corpus.manifest import read_manifest
from osum.corpus.readers import Manifest
from osum.tasks import OSUM, LabelSet, Task


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """Thirty clips of ten speakers in the release's form."""
    rows = []
    for number in range(30):
        write_clip(tmp_path / f"wav/{number}.wav", 0.05, seed=number)
        row = {"key": f"k{number}", "wav": f"wav/{number}.wav", "speaker": f"s{number % 10}"}
        rows.append({**row, "txt": "你好<anger>", "task": "<TRANSCRIBE> <EMOTION>"})
    return write_lines(tmp_path / "raw.jsonl", rows)


def ids(*paths: Path) -> list[set[str]]:
    return [{row.id for row in read_manifest(path)} for path in paths]


def test_convert_writes_our_rows(osum: Run, original: Path, tmp_path: Path) -> None:
    code, out, err = osum("data", "convert", original, tmp_path / "train.jsonl")
    assert (code, out, err) == (0, "", f"osum: {tmp_path / 'train.jsonl'}: 30 rows\n")
    row = next(read_manifest(tmp_path / "train.jsonl"))
    assert (row.id, row.text, row.labels, row.path) == ("k0", "你好", {"emotion": "anger"}, str(tmp_path / "wav/0.wav"))


def test_paths_hold_wherever_the_command_was_run(
    osum: Run, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert osum("data", "convert", "raw.jsonl", "other/train.jsonl").code == 0
    assert osum("data", "shard", "raw.jsonl", "shards").code == 0
    assert osum("data", "convert", "shards/shard-000000.tar", "other/tar.jsonl").code == 0
    monkeypatch.chdir("/")
    for name in ("other/train.jsonl", "other/tar.jsonl", "shards"):
        assert osum("data", "validate", tmp_path / name).out.endswith("30 rows, 0 wrong\n")
    assert osum("data", "shard", original, tmp_path / "shards").code == 0


def test_convert_reports_a_broken_line_and_takes_the_others(osum: Run, original: Path, tmp_path: Path) -> None:
    with original.open("a", encoding="utf-8") as file:
        file.write('{"key": "x"\n')
    code, _, err = osum("data", "convert", original, tmp_path / "train.jsonl")
    assert (code, len(list(read_manifest(tmp_path / "train.jsonl")))) == (1, 30)
    assert err.splitlines()[0].startswith(f"osum: error: {original}:31: not JSON")
    assert err.splitlines()[1].endswith("30 rows, 1 broken lines left out")


def test_convert_replaces_nothing_unless_asked(osum: Run, original: Path) -> None:
    assert "--overwrite" in osum("data", "convert", original, original).err
    assert osum("data", "convert", original, original, "--overwrite").code == 0
    assert len(ids(original)[0]) == 30


@pytest.mark.parametrize(
    ("lines", "words", "message"),
    [
        (["{"], [], "no line is a JSON object"),
        (['{"key": "a"}'], ["--from", "original"], "no row can be used"),
        (['{"key": "a"}'], ["--from", "orignal"], "did you mean 'original'"),
        (['{"key": "a"}'], ["--task", "SERR"], "did you mean 'SER'"),
        (['{"key": "a"}'], ["--tasks-file", "absent.json"], "tasks.json of a checkpoint"),
    ],
)
def test_what_cannot_be_converted_writes_nothing(
    osum: Run, tmp_path: Path, lines: list[str], words: list[str], message: str
) -> None:
    code, _, err = osum("data", "convert", write_lines(tmp_path / "m", lines), tmp_path / "out.jsonl", *words)
    assert code in {1, 2}
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "out.jsonl").exists()


def test_a_label_of_ones_own_is_converted_and_valid(osum: Run, tmp_path: Path) -> None:
    task = Task("PITCH", "<TRANSCRIBE> <PITCH>", "pitch", label_sets=(LabelSet("pitch", ("low", "high")),))
    tasks = OSUM.with_task(task, prompts={"en": ["How high?"]})
    (tmp_path / "tasks.json").write_text(json.dumps(tasks.to_dict()), encoding="utf-8")
    write_clip(tmp_path / "a.wav")
    raw = write_lines(tmp_path / "raw.jsonl", [{"audio_filepath": "a.wav", "text": "hi<low>", "duration": 0.25}])
    own = ("--tasks-file", tmp_path / "tasks.json")
    assert osum("data", "convert", raw, tmp_path / "m.jsonl", "--task", "pitch", *own).code == 0
    assert next(read_manifest(tmp_path / "m.jsonl")).labels == {"pitch": "low"}
    assert osum("data", "validate", tmp_path / "m.jsonl", *own).code == 0
    assert osum("data", "validate", tmp_path / "m.jsonl").code == 1


def test_split_keeps_speakers_apart_and_loses_none(osum: Run, original: Path, tmp_path: Path) -> None:
    code, _, err = osum("data", "split", original, tmp_path / "s", "--valid", 0.3, "--test", 0.3, "--seed", 1)
    parts = ids(*(tmp_path / f"s/{name}.jsonl" for name in ("train", "valid", "test")))
    assert (code, sum(map(len, parts)), "speakers" in err) == (0, 30, True)
    speakers = [{int(name[1:]) % 10 for name in part} for part in parts]
    assert sum(map(len, speakers)) == 10


def test_new_rows_move_no_old_speaker(osum: Run, original: Path, tmp_path: Path) -> None:
    osum("data", "split", original, tmp_path / "old", "--valid", 0.4)
    rows = [{"key": f"n{n}", "wav": "w", "txt": "", "speaker": f"t{n}"} for n in range(50)]
    more = tmp_path / "more.jsonl"
    write_lines(more, [*(json.dumps(row) for row in rows), *original.read_text("utf-8").splitlines()])
    osum("data", "split", more, tmp_path / "new", "--valid", 0.4)
    for name in ("train", "valid"):
        old, new = ids(tmp_path / f"old/{name}.jsonl", tmp_path / f"new/{name}.jsonl")
        assert old == {row for row in new if row.startswith("k")}


def test_rows_without_a_speaker_are_counted(osum: Run, tmp_path: Path) -> None:
    rows = [{"id": f"a{n}", "path": "a.wav", "speaker": "s" if n else None} for n in range(3)]
    code, _, err = osum("data", "split", write_lines(tmp_path / "m", rows), tmp_path / "out", "--test", 0.5)
    assert (code, "1 rows name no speaker" in err) == (0, True)


@pytest.mark.parametrize("words", [[], ["--valid", 0.5, "--test", 0.5], ["--valid", 1], ["--valid", "x"]])
def test_shares_that_leave_nothing_are_an_error(osum: Run, original: Path, tmp_path: Path, words: list[object]) -> None:
    code, _, err = osum("data", "split", original, tmp_path / "out", *words)
    assert (code in {1, 2}, err.count("\n")) == (True, 1)
    assert not (tmp_path / "out").exists()


def test_validate_finds_every_bad_line_of_a_manifest(osum: Run, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.wav", 0.25)
    write_clip(tmp_path / "empty.wav", 0.0)
    row = {"id": "a", "path": "a.wav", "text": "hi"}
    bad: dict[str, object] = {
        "broken line": "{",
        "audio": {**row, "id": "b", "path": "absent.wav"},
        "label": {**row, "id": "c", "labels": {"emotion": "hapy"}},
        "id": row,
        "length": {**row, "id": "d", "start": 1, "end": 1},
        "text": {**row, "id": "e", "text": "hi<happy>"},
        "audio ": {**row, "id": "f", "path": "empty.wav"},
    }
    path = write_lines(tmp_path / "m.jsonl", [row, *bad.values()])
    path.write_bytes(path.read_bytes() + b'{"id": "\xff"}\n')
    code, out, err = osum("data", "validate", path)
    *reported, summary = out.splitlines()
    assert (code, err) == (1, "")
    rules = [*(rule.strip() for rule in bad), "broken line"]
    assert [line.split(": ")[:2] for line in reported] == [[f"{path}:{n}", rule] for n, rule in enumerate(rules, 2)]
    assert reported[-1].endswith("is not UTF-8: save the file as UTF-8")
    assert summary == f"{path}: 9 rows, 8 wrong, broken line 2, audio 2, label 1, id 1, length 1, text 1"


def test_validate_shows_some_problems_of_a_kind_and_counts_the_rest(osum: Run, tmp_path: Path) -> None:
    rows = [{"id": f"a{number}", "path": "absent.wav", "text": "hi"} for number in range(25)]
    path = write_lines(tmp_path / "m.jsonl", [*rows, "{"])
    *reported, more, summary = osum("data", "validate", path).out.splitlines()
    assert (len(reported), summary) == (21, f"{path}: 26 rows, 26 wrong, audio 25, broken line 1")
    assert more == f"{path}: audio: 5 more, 25 in all (--show 25)"
    assert len(osum("data", "validate", path, "--show", 0).out.splitlines()) == 3


def test_validate_passes_a_good_manifest(osum: Run, original: Path) -> None:
    assert osum("data", "validate", original) == (0, f"{original}: 30 rows, 0 wrong\n", "")


def test_shard_writes_what_validates_and_reads(osum: Run, original: Path, tmp_path: Path) -> None:
    code, _, err = osum("data", "shard", original, tmp_path / "out", "--per-shard", 12)
    assert (code, err) == (0, f"osum: {tmp_path / 'out'}: 30 clips in 3 shards, 0 without audio\n")
    assert osum("data", "validate", tmp_path / "out", "--audio", "decode").code == 0
    rows = [line.utterance for line in Manifest(tmp_path / "out")]
    assert [ClipAudio().read(row).tolist() for row in rows if row][17] == noise(0.05, 17).tolist()


def test_shard_reports_what_is_missing_also_when_it_continues(osum: Run, original: Path, tmp_path: Path) -> None:
    (tmp_path / "wav/3.wav").unlink()
    code, _, err = osum("data", "shard", original, tmp_path / "out")
    assert (code, "raw.jsonl:4" in err, err.endswith("29 clips in 1 shards, 1 without audio\n")) == (1, True, True)
    code, _, err = osum("data", "shard", original, tmp_path / "out")
    assert (code, err.endswith("29 clips in 1 shards, 29 of them written before, 1 without audio\n")) == (1, True)


def test_a_killed_shard_run_continues_and_gives_the_same_bytes(osum: Run, original: Path, tmp_path: Path) -> None:
    words = ["data", "shard", str(original), str(tmp_path / "killed"), "--per-shard", "1"]
    running = subprocess.Popen([sys.executable, "-m", "osum", *words], stderr=subprocess.DEVNULL)
    while running.poll() is None and not (tmp_path / "killed/shard-000002.jsonl").exists():
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert osum(*words).code == 0
    assert osum("data", "shard", original, tmp_path / "straight", "--per-shard", 1).code == 0
    killed, straight = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if not path.name.startswith(".")}
        for name in ("killed", "straight")
    )
    assert killed == straight


def test_stats_are_shown_as_a_table_and_as_json(osum: Run, original: Path) -> None:
    code, out, _ = osum("data", "stats", original)
    assert (code, "anger 30" in out) == (0, True)
    found = json.loads(osum("data", "stats", original, "--json").out)
    assert (found["total"]["clips"], found["total"]["speakers"], found["failed"]) == (30, 10, 0)
    assert found["total"]["seconds"]["median"] == 0.05


def test_stats_are_drawn(osum: Run, original: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert osum("data", "stats", original, "--plot", tmp_path / "s.png").code == 0
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("command", ["convert", "shard", "split", "validate", "stats"])
def test_a_manifest_that_is_not_there_is_one_line(osum: Run, tmp_path: Path, command: str) -> None:
    out = [] if command in {"validate", "stats"} else [tmp_path / "out"]
    more = ["--valid", 0.5] if command == "split" else []
    code, _, err = osum("data", command, tmp_path / "absent.jsonl", *out, *more)
    assert (code, err.count("\n")) == (1, 1)
    assert "absent.jsonl cannot be read" in err


def test_the_command_names_every_format() -> None:
    assert data.FORMATS == readers.FORMATS


@pytest.mark.parametrize(
    ("words", "script"),
    [(["kit", "--out", "kit"], "recipes.nano.kit"), (["nano", "--kit", "k", "--out", "o"], "recipes.nano.build")],
)
def test_a_command_that_became_a_script_names_it_in_one_line(osum: Run, words: list[str], script: str) -> None:
    code, out, err = osum("data", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"python -m {script}" in err


DIALOGUE = {"id": "a", "turns": [{"role": "user", "audio": "q.wav"}, {"role": "assistant", "text": "yes"}]}


def test_dialogues_are_written_as_ours_and_the_rest_is_counted(osum: Run, tmp_path: Path) -> None:
    raw = {"key": "k", "wav": "q.wav", "txt": "no", "task": "<S2TCHAT> <TEXT2TOKEN>", "extra": {"speech_token": [1]}}
    rows = [DIALOGUE, raw, {"id": "b", "path": "b.wav"}, {**DIALOGUE, "turns": []}]
    path = write_lines(tmp_path / "in.jsonl", rows)
    code, out, err = osum("data", "dialogues", path, tmp_path / "out.jsonl")
    assert (code, out) == (1, "")
    assert f"error: {path}:4: 0 turns that do not end with the assistant's" in err
    counts = "2 dialogues (s2s 1, s2t 1), 1 broken lines left out, 1 rows of no dialogue left out"
    assert err.endswith(f"{tmp_path / 'out.jsonl'}: {counts}\n")
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["turns"][-1] for row in written] == [
        {"role": "assistant", "text": "yes"},
        {"role": "assistant", "text": "no", "codes": [1]},
    ]


def test_a_manifest_without_dialogues_writes_nothing(osum: Run, original: Path, tmp_path: Path) -> None:
    code, _, err = osum("data", "dialogues", original, tmp_path / "out.jsonl")
    assert (code, (tmp_path / "out.jsonl").exists()) == (1, False)
    assert "no row is a dialogue" in err


def test_a_split_without_rows_is_refused_and_nothing_is_written(osum: Run, tmp_path: Path) -> None:
    rows = [{"id": str(at), "path": "a.wav", "text": "hi", "speaker": "one"} for at in range(5)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, err = osum("data", "split", tmp_path / "rows.jsonl", tmp_path / "out", "--valid", "0.01")
    assert (code, err.count("\n")) == (1, 1)
    assert "valid would have no row, since 1 speakers are dealt whole" in err and not (tmp_path / "out").exists()


def test_shards_of_rows_with_one_id_are_refused(osum: Run, tmp_path: Path) -> None:
    row = json.dumps({"id": "same", "path": "a.wav", "text": "hi"}) + "\n"
    (tmp_path / "rows.jsonl").write_text(row * 2)
    code, _, err = osum("data", "shard", tmp_path / "rows.jsonl", tmp_path / "out")
    assert code == 1 and "two rows have the id 'same': give each row its own" in err
