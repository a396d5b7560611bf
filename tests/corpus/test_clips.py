"""Every row gives its waveform, wherever it is stored, to any number of workers; a broken shard is one clear error."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from corpus.manifests_of_others import RATE, noise, original_members, write_clip, write_tar
from osum.corpus.clips import ClipAudio, as_clip, without_place
from osum.corpus.packed import PackedWriter, to_int16
from osum.corpus.readers import Manifest
from osum.errors import AudioError
from osum.utterance import Segment, Utterance, Word


def shard(folder: Path, keys: str = "abc") -> list[Utterance]:
    path = write_tar(folder / "s.tar", [member for key in keys for member in original_members(key, "hi")])
    return [line.utterance for line in Manifest(path) if line.utterance is not None]


def test_a_file_is_read_and_cut_to_its_stretch(tmp_path: Path) -> None:
    path = str(write_clip(tmp_path / "a.wav", 0.5))
    row = Utterance("a", path, start=0.125, end=0.25)
    assert ClipAudio().read(Utterance("a", path)).tolist() == noise(0.5).tolist()
    assert ClipAudio().read(row).tolist() == noise(0.5)[RATE // 8 : RATE // 4].tolist()
    assert ClipAudio().duration(row) == 0.125


def test_a_packed_clip_is_read(tmp_path: Path) -> None:
    with PackedWriter(tmp_path / "a.i16") as packed:
        packed.append(to_int16(noise(0.1)))
        row = Utterance("a", str(tmp_path / "a.i16"), extra=dict(packed.append(to_int16(noise(0.2, seed=1)))))
    assert ClipAudio().read(row).tolist() == noise(0.2, seed=1).tolist()
    assert ClipAudio().duration(row) == 0.2


def test_a_clip_of_a_tar_is_read_with_its_length(tmp_path: Path) -> None:
    for row in shard(tmp_path):
        assert ClipAudio().read(row).tolist() == noise(seed=1).tolist()
        assert ClipAudio().duration(row) == 0.25


class Clips(Dataset[float]):
    def __init__(self, rows: list[Utterance], audio: ClipAudio) -> None:
        self.rows, self.audio = rows, audio

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> float:
        return float(np.abs(self.audio.read(self.rows[index])).sum())


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # more workers than cores
@pytest.mark.parametrize("workers", [0, 3])
def test_any_number_of_workers_reads_the_same(tmp_path: Path, workers: int) -> None:
    rows = shard(tmp_path) * 4
    read = DataLoader(Clips(rows, ClipAudio()), batch_size=None, num_workers=workers, timeout=60 if workers else 0)
    assert [float(value) for value in read] == [float(np.abs(noise(seed=1)).sum())] * len(rows)


def test_the_reader_can_be_handed_to_a_new_process(tmp_path: Path) -> None:
    (row,) = shard(tmp_path, "a")
    assert pickle.loads(pickle.dumps(ClipAudio())).read(row).size == RATE // 4


def test_a_shard_cut_in_half_is_one_error_that_names_it(tmp_path: Path) -> None:
    rows = shard(tmp_path)
    path = Path(rows[0].path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    faults = set()
    for row in rows[1:]:
        with pytest.raises(AudioError, match=r"shard .*s\.tar: is cut off") as caught:
            ClipAudio().read(row)
        faults.add(str(caught.value))
    assert len(faults) == 1


def test_an_index_of_another_shard_is_one_error_that_names_it(tmp_path: Path) -> None:
    old = shard(tmp_path, "abc")
    shard(tmp_path, ["aa", "bbb", "c"])
    with pytest.raises(AudioError, match=r"shard .*s\.tar: is not what its index describes"):
        ClipAudio().read(old[1])


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    (row,) = shard(tmp_path, "a")
    Path(row.path).unlink()
    with pytest.raises(AudioError, match=r"s\.tar: cannot be read"):
        ClipAudio().read(row)


@pytest.mark.parametrize("place", [{"num_bytes": 4}, {"num_bytes": "x", "offset": 0}, {"num_bytes": 4, "offset": -1}])
def test_a_place_that_is_none_is_an_audio_error(tmp_path: Path, place: dict[str, object]) -> None:
    path = write_tar(tmp_path / "s.tar", [])
    with pytest.raises(AudioError, match=r"s\.tar"):
        ClipAudio().read(Utterance("a", str(path), extra=place))


def test_bytes_that_are_no_audio_are_named_by_shard_and_member(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", [("a.txt", b"hi"), ("a.wav", b"no audio at all")])
    (line,) = Manifest(path)
    with pytest.raises(AudioError, match=r"s\.tar: a\.wav: "):
        ClipAudio().read(line.utterance)


@pytest.mark.parametrize("change", [{"start": 0.3}, {"start": 0.2, "end": 0.1}, {"channel": "left"}, {"channel": 3}])
def test_a_stretch_or_channel_that_is_not_there_is_an_error(tmp_path: Path, change: dict[str, object]) -> None:
    row = Utterance("a", str(write_clip(tmp_path / "a.wav"))).with_(**change)
    with pytest.raises(AudioError, match=r"a\.wav"):
        ClipAudio().read(row)


def test_the_row_of_a_clip_counts_from_its_beginning() -> None:
    words = (Word("a", 1.5, 1.75),)
    row = Utterance("a", "a.wav", 1, 1.5, 2.0, words=words, segments=(Segment(1.5, 2.0, words=words),))
    clip = as_clip(row, RATE // 2)
    assert (clip.start, clip.end, clip.channel, clip.duration) == (None, None, None, 0.5)
    assert (clip.words, clip.segments) == ((Word("a", 0.0, 0.25),), (Segment(0.0, 0.5, words=clip.words),))


def test_a_row_loses_its_place_and_nothing_else() -> None:
    row = Utterance("a", "a", extra={"offset": 1, "num_bytes": 2, "crc32": 3, "member": "m", "num_samples": 4, "x": 5})
    assert without_place(row).extra == {"x": 5}
