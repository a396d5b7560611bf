"""Manifests: what is written is read, faults name their line, speakers stay on one side."""

import gzip
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osum.corpus.manifest import json_row, read_manifest, split_by_speaker, write_manifest
from osum.errors import InputError, ManifestError
from osum.utterance import Utterance, Word

FRACTIONS = {"train": 0.8, "valid": 0.05, "test": 0.15}
ROWS = [Utterance(id=f"u{i}", path=f"{i}.wav", speaker=f"s{i % 60}") for i in range(300)]


def test_rows_come_back_with_their_paths_resolved(tmp_path):
    row = Utterance(id="a", path="clips/a.wav", text="新年", words=(Word("新", 0.0, 0.2),), labels={"age": "adult"})
    assert write_manifest(tmp_path / "m.jsonl", [row.with_(path=str(tmp_path / "clips/a.wav"))]) == 1
    assert '"path": "clips/a.wav"' in (tmp_path / "m.jsonl").read_text(encoding="utf-8")
    assert list(read_manifest(tmp_path / "m.jsonl")) == [row.with_(path=str(tmp_path / "clips/a.wav"))]


def test_a_path_outside_the_folder_stays_absolute(tmp_path):
    write_manifest(tmp_path / "sub" / "m.jsonl", [Utterance(id="a", path=str(tmp_path / "a.wav"))])
    assert [row.path for row in read_manifest(tmp_path / "sub" / "m.jsonl")] == [str(tmp_path / "a.wav")]


@pytest.mark.parametrize("line", ["{", "[1]", '{"id": "b"}', '{"id": "b", "path": "b.wav", "words": 3}'])
def test_a_bad_row_is_named_by_file_and_line(tmp_path, line):
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"id": "a", "path": "a.wav"}\n\n' + line + "\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=r"m\.jsonl:3: "):
        list(read_manifest(manifest))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_byte_order_mark_line_ends_of_windows_and_gzip_are_read(tmp_path, pack):
    content = b'\xef\xbb\xbf{"id": "a", "path": "a.wav"}\r\n\r\n{"id": "b", "path": "b.wav"}\r\n'
    (tmp_path / "m.jsonl").write_bytes(pack(content))
    assert [row.id for row in read_manifest(tmp_path / "m.jsonl")] == ["a", "b"]


def test_a_file_name_of_any_bytes_comes_back(tmp_path):
    name = os.fsdecode("录音.wav".encode("gbk"))
    row = Utterance(id=name, path=str(tmp_path / name), text="新")
    write_manifest(tmp_path / "m.jsonl", [row])
    assert list(read_manifest(tmp_path / "m.jsonl")) == [row]


def test_stray_bytes_outside_names_are_refused(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"id": "a", "path": "a.wav", "text": "\\udcb0"}')
    with pytest.raises(ManifestError, match="text: half a surrogate pair"):
        list(read_manifest(tmp_path / "m.jsonl"))


@given(st.binary(max_size=200).map(lambda content: content.replace(b"\0", b"").replace(b"/", b"")))
def test_any_file_name_that_a_system_may_have_comes_back(tmp_path_factory, content):
    name = os.fsdecode(content) or "a"
    path = tmp_path_factory.getbasetemp() / "names.jsonl"
    row = Utterance(id=name, path=str(path.parent / "clips" / name))
    write_manifest(path, [row])
    assert list(read_manifest(path)) == [row.with_(path=os.path.normpath(row.path))]


def test_a_missing_manifest_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="absent"):
        list(read_manifest(tmp_path / "absent.jsonl"))


def test_a_speaker_lands_in_one_split_and_no_row_is_lost():
    splits = split_by_speaker(ROWS, FRACTIONS, seed=1)
    speakers = [{row.speaker for row in rows} for rows in splits.values()]
    assert sum(len(part) for part in speakers) == len(set.union(*speakers)) == 60
    assert sum(map(len, splits.values())) == len(ROWS)


def test_splits_depend_on_the_seed_and_the_speaker_only():
    assert split_by_speaker(ROWS, FRACTIONS, 1) == split_by_speaker(ROWS, FRACTIONS, 1)
    assert split_by_speaker(ROWS, FRACTIONS, 1) != split_by_speaker(ROWS, FRACTIONS, 2)
    fewer = split_by_speaker(ROWS[:7], FRACTIONS, 1)
    whole = split_by_speaker(ROWS, FRACTIONS, 1)
    assert all(set(map(id, rows)) <= set(map(id, whole[name])) for name, rows in fewer.items())


def test_fractions_must_sum_to_one():
    with pytest.raises(InputError, match=r"0\.9"):
        split_by_speaker(ROWS, {"train": 0.9}, 1)


@given(st.lists(st.text(min_size=1), max_size=20), st.integers(0, 5))
def test_any_speaker_name_is_dealt_once(names, seed):
    rows = [Utterance(id=str(i), path="x", speaker=name) for i, name in enumerate(names)]
    splits = split_by_speaker(rows, FRACTIONS, seed)
    assert sorted(row.id for part in splits.values() for row in part) == sorted(row.id for row in rows)


@pytest.mark.parametrize(
    ("line", "reported"),
    [
        ('{"id": "a", "duration": NaN}', "NaN is no number"),
        ('{"id": "a", "extra": {"x": [-Infinity]}}', "-Infinity is no number"),
        ('{"id": "a", "text": "x", "text": "y"}', "'text' stands twice in one object"),
        ('{"id": "a", "labels": {"gender": "male", "gender": "female"}}', "'gender' stands twice"),
    ],
)
def test_what_json_does_not_know_is_refused(line, reported):
    with pytest.raises(ManifestError, match=reported):
        json_row(line)
