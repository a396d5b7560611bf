"""What goes into shards comes out, a killed run continues, and nothing half-written is taken for whole."""

from __future__ import annotations

import tarfile
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks.strategies import utterances

from corpus.manifests_of_others import RATE, noise, original_members, write_clip, write_lines, write_tar
from osum.audio import load
from osum.corpus.clips import ClipAudio, without_place
from osum.corpus.manifest import read_manifest, write_manifest
from osum.corpus.packed import PackedWriter, to_int16
from osum.corpus.readers import Line, Manifest
from osum.corpus.shards import PLAN, Shard, Storage, plan, write_shards
from osum.errors import InputError
from osum.utterance import Utterance, Word


def write(lines: list[Line] | Manifest, out: Path, per_shard: int = 2, storage: Storage = "flac") -> list[Shard]:
    rows = [line.utterance for line in lines if line.utterance is not None]
    return list(write_shards(lines, out, plan(rows, per_shard, storage)))


def clips(folder: Path, count: int = 5) -> list[Line]:
    paths = [write_clip(folder / f"clips/{n}.wav", 0.1, seed=n) for n in range(count)]
    return [Line(f"m:{n}", Utterance(f"键/{n}", str(path), text=f"nr {n}")) for n, path in enumerate(paths)]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rows_of(folder: Path) -> list[Utterance]:
    return [line.utterance for line in Manifest(folder) if line.utterance is not None]


def test_every_utterance_comes_back_with_its_samples(tmp_path: Path) -> None:
    shards = write(clips(tmp_path), tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert [shard.num_rows for shard in shards] == [2, 2, 1]
    assert [(row.id, row.text, row.duration) for row in rows] == [(f"键/{n}", f"nr {n}", 0.1) for n in range(5)]
    for seed, row in reversed(list(enumerate(rows))):
        assert ClipAudio().read(row).tolist() == noise(0.1, seed).tolist()


def test_a_shard_alone_holds_what_its_index_holds(tmp_path: Path) -> None:
    write(clips(tmp_path), tmp_path / "out")
    for path in sorted((tmp_path / "out").glob("*.tar")):
        assert [line.utterance for line in Manifest(path)] == list(read_manifest(path.with_suffix(".jsonl")))


@settings(deadline=None, max_examples=20)
@given(utterances)
def test_any_row_comes_back(tmp_path_factory: pytest.TempPathFactory, utterance: Utterance) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = str(write_clip(folder / "a.wav"))
    write([Line("m:1", utterance.with_(path=path))], folder / "out")
    (row,) = rows_of(folder / "out")
    assert without_place(row).with_(path="", duration=None) == utterance.with_(path="")


def test_a_stretch_of_one_channel_is_cut_out(tmp_path: Path) -> None:
    path = str(write_clip(tmp_path / "a.wav", 0.5))
    row = Utterance("a", path, channel=0, start=0.25, end=0.375, words=(Word("a", 0.25, 0.375),))
    write([Line("m:1", row)], tmp_path / "out")
    (row,) = rows_of(tmp_path / "out")
    assert ClipAudio().read(row).tolist() == noise(0.5)[RATE // 4 : RATE * 3 // 8].tolist()
    assert (row.start, row.end, row.channel, row.words) == (None, None, None, (Word("a", 0.0, 0.125),))


def test_copied_bytes_stay_as_they_were(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", 0.5, rate=8_000)
    write([Line("m:1", Utterance("a", str(path), start=0.25, end=0.5))], tmp_path / "out", storage="copy")
    (row,) = rows_of(tmp_path / "out")
    assert ClipAudio().source(row) == path.read_bytes()
    assert (row.extra["member"], row.start, row.duration) == ("000000000.wav", 0.25, 0.25)
    assert ClipAudio().read(row).tolist() == load(path, start=0.25, end=0.5).tolist()


def test_packed_and_tar_rows_can_be_sharded(tmp_path: Path) -> None:
    with PackedWriter(tmp_path / "a.i16") as packed:
        row = Utterance("p", str(tmp_path / "a.i16"), extra=dict(packed.append(to_int16(noise(0.1)))))
    tar = list(Manifest(write_tar(tmp_path / "s.tar", original_members("k", "hi"))))
    write([Line("m:1", row), *tar], tmp_path / "out", storage="copy")
    packed_row, tar_row = rows_of(tmp_path / "out")
    assert ClipAudio().read(packed_row).tolist() == noise(0.1).tolist()
    assert ClipAudio().read(tar_row).tolist() == noise(seed=1).tolist()
    assert tar_row.extra["member"] == "000000001.wav"


def test_a_clip_that_cannot_be_read_is_reported_and_left_out(tmp_path: Path) -> None:
    lines = clips(tmp_path)
    Path(lines[1].utterance.path).unlink()
    (lost,) = (line for shard in write(lines, tmp_path / "out") for line in shard.failed)
    assert lost.place == "m:1"
    assert "no such file" in lost.fault
    assert [row.id for row in rows_of(tmp_path / "out")] == ["键/0", "键/2", "键/3", "键/4"]


def test_a_run_that_stopped_continues_and_gives_the_same_bytes(tmp_path: Path) -> None:
    lines = clips(tmp_path)
    write(lines, tmp_path / "straight")
    wanted = plan([line.utterance for line in lines], 2, "flac")
    list(islice(write_shards(lines, tmp_path / "stopped", wanted), 1))
    (tmp_path / "stopped/shard-000001.tar").write_bytes(b"its index is missing")
    (tmp_path / "stopped/.shard-000002.tar.partial").write_bytes(b"half")
    shards = write(lines, tmp_path / "stopped")
    assert [shard.resumed for shard in shards] == [True, False, False]
    assert content(tmp_path / "stopped") == content(tmp_path / "straight")


def test_a_full_disk_loses_no_finished_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, really_add, added = clips(tmp_path), tarfile.TarFile.addfile, []

    def add(self: tarfile.TarFile, *given: object) -> None:  # a disk cannot be filled in a test
        added.append(given)
        if len(added) == 6:
            raise OSError(28, "No space left on device")
        really_add(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(tarfile.TarFile, "addfile", add)
    with pytest.raises(OSError, match="No space"):
        write(lines, tmp_path / "out")
    assert sorted(content(tmp_path / "out")) == ["shard-000000.jsonl", "shard-000000.tar", PLAN]
    assert [shard.resumed for shard in write(lines, tmp_path / "out")] == [True, False, False]


def test_shards_of_another_manifest_or_setting_are_not_mixed(tmp_path: Path) -> None:
    lines = clips(tmp_path)
    write(lines, tmp_path / "out")
    with pytest.raises(InputError, match="another per_shard"):
        write(lines, tmp_path / "out", per_shard=3)
    with pytest.raises(InputError, match="another num_rows, sha256"):
        write(lines[:-1], tmp_path / "out")
    (tmp_path / "out" / PLAN).unlink()
    with pytest.raises(InputError, match=PLAN):
        write(lines, tmp_path / "out")


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_wherever_a_shard_is_cut_it_is_noticed_or_the_clip_is_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    write(clips(folder, 2), folder / "out")
    rows, path = rows_of(folder / "out"), folder / "out/shard-000000.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    for seed, row in enumerate(rows):
        if row.extra["offset"] + row.extra["num_bytes"] <= path.stat().st_size:
            assert ClipAudio().read(row).tolist() == noise(0.1, seed).tolist()
        else:
            with pytest.raises(Exception, match=r"shard .*shard-000000\.tar: is cut off"):
                ClipAudio().read(row)


def test_rows_of_shards_can_be_split_and_moved_into_other_manifests(tmp_path: Path) -> None:
    write(clips(tmp_path), tmp_path / "data/shards")
    write_manifest(tmp_path / "data/train.jsonl", rows_of(tmp_path / "data/shards"))
    (tmp_path / "data").rename(tmp_path / "moved")
    rows = list(read_manifest(tmp_path / "moved/train.jsonl"))
    assert ClipAudio().read(rows[3]).tolist() == noise(0.1, 3).tolist()


def test_broken_lines_are_passed_over(tmp_path: Path) -> None:
    path = str(write_clip(tmp_path / "a.wav"))
    manifest = Manifest(write_lines(tmp_path / "m.jsonl", ["{", {"id": "a", "path": path}]), format="osum")
    assert [shard.num_rows for shard in write(manifest, tmp_path / "out")] == [1]
