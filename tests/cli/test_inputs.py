"""Any manifest, shards, packed audio, any file names and any number of rows are answered; one bad row costs one."""

from __future__ import annotations

import json
import os
import resource
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus.manifests_of_others import noise, original_members, write_clip, write_lines, write_tar

from cli.conftest import MakeClip, Run, StandIn
from osum.corpus.manifest import read_manifest, write_manifest
from osum.corpus.packed import AUDIO, PackedWriter, to_int16
from osum.utterance import Answer, Segment, Utterance

pytestmark = pytest.mark.usefixtures("model")

GBK = os.fsdecode("录音".encode("gbk"))
"""A file name as a Chinese Windows writes it."""


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# Manifests


def test_a_broken_line_costs_one_row_and_is_named(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    row = {"id": "a", "path": str(clip())}
    lines = [row, "{", {"id": "b"}, {**row, "id": "c", "start": "soon"}, {**row, "id": "d"}]
    path = write_lines(tmp_path / "in.jsonl", lines)
    code, out, err = osum("label", path, "-f", "jsonl", "--quiet")
    found = [json.loads(line) for line in out.splitlines()]
    assert (code, [row["id"] for row in found if "error" not in row]) == (1, ["a", "d"])
    assert [line.split(": ")[2] for line in err.splitlines()] == [f"{path}:{number}" for number in (2, 3, 4)]


def test_a_broken_line_is_listed_and_leaves_the_list_when_it_is_mended(
    osum: Run, clip: MakeClip, tmp_path: Path
) -> None:
    row = {"id": "a", "path": str(clip())}
    path, failed = write_lines(tmp_path / "in.jsonl", [row, "{"]), tmp_path / "out/failed.jsonl"
    assert osum("label", path, "-o", tmp_path / "out").code == 1
    (listed,) = read_manifest(failed)
    assert "in.jsonl:2: not JSON" in (listed.error or "")
    code, _, err = osum("label", failed, "-o", tmp_path / "again", "--quiet")
    assert (code, "in.jsonl:2: not JSON" in err) == (1, True)
    write_lines(path, [row, {**row, "id": "b"}])
    assert osum("label", path, "-o", tmp_path / "out", "--overwrite").code == 0
    assert not failed.exists()


def test_a_list_of_failures_that_is_broken_is_written_anew(osum: Run, tmp_path: Path) -> None:
    (tmp_path / "failed.jsonl").write_bytes(b'\xff\xfe\n{"id": "x", "path": "x.wav"}\n[]\n')
    assert osum("label", tmp_path / "no.wav", "-o", tmp_path / "out.txt").code == 1
    assert [row.id for row in read_manifest(tmp_path / "failed.jsonl")] == ["x", "no"]


@pytest.mark.parametrize("content", [b'\xef\xbb\xbf{"id": "a", "path": "clip.wav"}\r\n\r\n'], ids=["BOM and CRLF"])
def test_a_manifest_of_windows_is_read(osum: Run, clip: MakeClip, tmp_path: Path, content: bytes) -> None:
    clip()
    (tmp_path / "in.jsonl").write_bytes(content)
    assert json.loads(osum("label", tmp_path / "in.jsonl", "-f", "json").out)["text"] == "hello there"


def test_manifests_of_others_are_labelled_as_they_are(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    clip(seconds=1.0)
    path = write_lines(tmp_path / "in.jsonl", [{"audio_filepath": "clip.wav", "offset": 0.25, "duration": 0.5}])
    assert json.loads(osum("label", path, "-f", "json").out)["duration"] == 0.5


# Names


@pytest.mark.parametrize("form", ["json", "jsonl", "txt", "srt", "tsv", "ctm", "textgrid", "audacity"])
def test_a_file_name_that_is_not_utf8_is_answered_in_every_format(
    osum: Run, clip: MakeClip, tmp_path: Path, form: str
) -> None:
    clip(f"in/{GBK}.wav")
    assert osum("label", tmp_path / "in", "-f", form).code == 0
    assert osum("label", tmp_path / "in", "-f", form, "-o", tmp_path / "out").code == 0
    assert [path.name.startswith(GBK) for path in (tmp_path / "out").iterdir()] == [True]


def test_rows_of_such_a_file_are_a_manifest_again(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    path = clip(f"in/{GBK}.wav")
    osum("label", tmp_path / "in", "-o", tmp_path / "rows.jsonl")
    (row,) = read_manifest(tmp_path / "rows.jsonl")
    assert (row.id, Path(row.path)) == (GBK, path)
    assert osum("label", tmp_path / "rows.jsonl", "-f", "json").code == 0
    assert osum("data", "convert", tmp_path / "rows.jsonl", tmp_path / "converted.jsonl").code == 0
    assert osum("data", "shard", tmp_path / "rows.jsonl", tmp_path / "shards").code == 0
    assert osum("data", "validate", tmp_path / "shards").code == 0


def test_such_a_file_that_fails_is_listed(osum: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / f"in/{GBK}.wav").write_text("this is no sound")
    assert osum("label", tmp_path / "in", "-o", tmp_path / "out").code == 1
    assert [row.id for row in read_manifest(tmp_path / "out/failed.jsonl")] == [GBK]


IDS = ["a" * 300, "新" * 300, "x/" * 3000 + "y", "a\0b", "a\nb", "..", "a-2", "a", "a"]


def test_an_id_that_makes_no_file_name_is_written_under_another(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    rows = [{"id": name, "path": str(clip())} for name in IDS]
    osum("label", write_lines(tmp_path / "in.jsonl", rows), "-o", tmp_path / "out", "--quiet")
    written = sorted((tmp_path / "out").rglob("*.json"))
    assert sorted(json.loads(path.read_text("utf8"))["id"] for path in written) == sorted(IDS)
    assert {"a.json", "a-2.json", "a-3.json", "a_b.json", "a_b-2.json"} < {path.name for path in written}


@pytest.mark.parametrize("path", ["a\0.wav", "a" * 5000, "a" * 300])
def test_a_path_that_no_system_takes_is_one_error(osum: Run, clip: MakeClip, tmp_path: Path, path: str) -> None:
    rows = [{"id": "bad", "path": path}, {"id": "good", "path": str(clip())}]
    manifest = write_lines(tmp_path / "in.jsonl", rows)
    for out in ("rows.jsonl", "folder", "rows.json"):
        code, _, err = osum("label", manifest, "-o", tmp_path / out, "--quiet")
        assert (code, err.count("osum: error: ")) == (1, 1)


# Where sound is stored


def test_shards_a_tar_and_packed_audio_are_labelled_as_the_files_they_are_from(osum: Run, tmp_path: Path) -> None:
    rows = [
        Utterance(f"k{seed}", str(write_clip(tmp_path / f"{seed}.wav", 0.1 + 0.05 * seed, seed))) for seed in range(4)
    ]
    write_manifest(tmp_path / "m.jsonl", rows)
    osum("data", "shard", tmp_path / "m.jsonl", tmp_path / "shards", "--per-shard", 3)
    (tmp_path / "packed").mkdir()
    with PackedWriter(tmp_path / "packed" / AUDIO) as packed:
        places = [packed.append(to_int16(noise(0.1 + 0.05 * seed, seed))) for seed in range(4)]
    of_packed = [
        row.with_(path=str(tmp_path / "packed" / AUDIO), extra=dict(place))
        for row, place in zip(rows, places, strict=True)
    ]
    write_manifest(tmp_path / "packed/train.jsonl", of_packed)
    wanted = [(row.id, round(0.1 + 0.05 * seed, 4)) for seed, row in enumerate(rows)]
    for name in ("m.jsonl", "shards", "packed"):
        out = osum("label", tmp_path / name, "-f", "jsonl", "--quiet").out
        found = [json.loads(line) for line in out.splitlines()]
        assert [(row["id"], row["duration"]) for row in found] == wanted, name
        assert (
            f"{sum(seconds for _, seconds in wanted):.1f} s of audio" in osum("label", tmp_path / name, "--dry-run").err
        )


def test_a_tar_of_the_release_is_labelled(osum: Run, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", [member for key in "ab" for member in original_members(key, "hi")])
    for given in (path, tmp_path):
        rows = [json.loads(line) for line in osum("label", given, "-f", "jsonl", "--quiet").out.splitlines()]
        assert [(row["id"], row["text"]) for row in rows] == [("a", "hello there"), ("b", "hello there")]


def test_each_channel_of_a_clip_in_a_shard_is_a_row(osum: Run, clip: MakeClip, tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.jsonl", [Utterance("a", str(clip(channels=2)))])
    osum("data", "shard", tmp_path / "m.jsonl", tmp_path / "shards", "--audio", "copy")
    out = osum("label", tmp_path / "shards", "--channel", "each", "-f", "jsonl", "--quiet").out
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["a-ch0", "a-ch1"]


# Long recordings, to be trained on


def test_a_long_recording_that_was_labelled_is_cut_into_rows_that_training_takes(
    osum: Run, model: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from osum.corpus.readers import Manifest
    from osum.tasks import OSUM
    from osum.training.mixture import MixturePart, read_mixture

    def stand_in(items: Iterable[Utterance], *_: object) -> Iterator[Utterance]:
        labels = {"SGC": Answer("female", 0.9)}
        segments = tuple(Segment(2.0 * n, 2.0 * n + 2.0, f"part {n}", (), labels) for n in range(5))
        for item in items:
            yield item.with_(duration=10.0, text="part", segments=segments, summary=labels, labels={"gender": "female"})

    monkeypatch.setattr(model, "label_files", stand_in)
    write_clip(tmp_path / "long.wav", 10.0)
    osum("label", tmp_path / "long.wav", "-o", tmp_path / "rows.jsonl")
    whole = read_mixture({"x": MixturePart(str(tmp_path / "rows.jsonl"))}, OSUM, 3.0)
    assert len(whole.rows) == 0
    assert (
        f"1 rows are longer than the 3 s that this model takes; cut them with: osum data cut {tmp_path}" in caplog.text
    )
    for audio in ("offset", "flac"):
        out = tmp_path / audio
        code, _, err = osum("data", "cut", tmp_path / "rows.jsonl", out, "--max-seconds", 3, "--audio", audio)
        assert (code, err) == (0, f"osum: {out / 'rows.jsonl'}: 5 rows, 1 recordings cut\n")
        assert osum("data", "validate", out / "rows.jsonl", "--audio", "decode").code == 0
        mixture = read_mixture({"x": MixturePart(str(out / "rows.jsonl"))}, OSUM, 3.0)
        assert [(row.text, row.labels["gender"]) for row in mixture.rows] == [(f"part {n}", "female") for n in range(5)]
        assert mixture.seconds == (2.0,) * 5
        sound = np.concatenate([_read(row) for row in mixture.rows])
        assert np.abs(sound - noise(10.0)).max() < 1e-4
        assert len(list(Manifest(out / "rows.jsonl"))) == 5


def _read(row: Utterance) -> np.ndarray:
    from osum.corpus.clips import ClipAudio

    return ClipAudio().read(row)


# Size


def corpus_of(count: int, path: Path, clip: Path) -> Path:
    with path.open("w") as lines:
        lines.writelines(f'{{"id": "row-{n:07d}", "path": "{clip}", "speaker": "s{n}"}}\n' for n in range(count))
    return path


def answered_unread(model: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(items: Iterable[Utterance], *_: object) -> Iterator[Utterance]:
        return (item.with_(text="hello there", duration=1.0) for item in items)

    monkeypatch.setattr(model, "label_files", answer)


@pytest.mark.parametrize("out", ["rows.jsonl", "rows.txt"])
def test_many_rows_take_no_memory(
    osum: Run, clip: MakeClip, model: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, out: str
) -> None:
    answered_unread(model, monkeypatch)
    peaks = []
    for count in (100, 1_000, 4_000):  # what is imported comes with the first, a whole page of rows with the second
        manifest = corpus_of(count, tmp_path / f"{count}.jsonl", clip())
        tracemalloc.start()
        assert osum("label", manifest, "-o", tmp_path / str(count) / out, "--quiet", "--batch-size", 100).code == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] - peaks[1] < 3_000 * 100  # bytes; a list of rows takes over 400 for each


@pytest.mark.slow
def test_a_million_rows_take_no_memory(
    osum: Run, clip: MakeClip, model: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answered_unread(model, monkeypatch)
    memory = []
    for count in (10_000, 1_000_000):
        manifest = corpus_of(count, tmp_path / f"{count}.jsonl", clip())
        out = tmp_path / str(count) / "rows.jsonl"
        assert osum("label", manifest, "-o", out, "--quiet", "--batch-size", 4096).code == 0
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    assert memory[1] - memory[0] < 150  # MB


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_list_of_paths_may_have_a_byte_order_mark_and_any_line_ends(
    osum: Run, clip: MakeClip, model: StandIn, tmp_path: Path, ends: str
) -> None:
    paths = [str(clip("a.wav")), str(clip("b.wav"))]
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf" + ends.join([*paths, ""]).encode())
    ran = osum("label", "--files-from", tmp_path / "list.txt", "-f", "txt")
    assert (ran.code, ran.out.count("hello there")) == (0, 2)


def test_a_manifest_of_which_nothing_can_be_read_costs_other_inputs_nothing(
    osum: Run, clip: MakeClip, model: StandIn, tmp_path: Path
) -> None:
    (tmp_path / "bad.jsonl").write_text("nothing\n")
    ran = osum("label", tmp_path / "bad.jsonl", clip(), "-f", "txt")
    assert (ran.code, ran.out.count("hello there"), "bad.jsonl" in ran.err) == (1, 1, True)
