"""Any manifest is known by its content, and a broken line is reported with its place while the others go through."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.manifests_of_others import original_members, wav_bytes, write_lines, write_tar
from osum.audio import load
from osum.corpus.clips import ClipAudio
from osum.corpus.manifest import write_manifest
from osum.corpus.readers import FORMATS, Line, Manifest
from osum.errors import InputError
from osum.utterance import Utterance, Word

ORIGINAL = {"key": "k", "wav": "k.wav", "txt": "你好"}


def read(path: Path, **options: object) -> list[Line]:
    return list(Manifest(path, **options))  # type: ignore[arg-type]


def test_rows_of_ours_come_back_as_they_were(tmp_path: Path) -> None:
    row = Utterance("a", str(tmp_path / "a.wav"), text="新", words=(Word("新", 0.0, 0.2),), extra={"note": 1})
    write_manifest(tmp_path / "m.jsonl", [row])
    assert read(tmp_path / "m.jsonl") == [Line(f"{tmp_path / 'm.jsonl'}:1", row)]


@pytest.mark.parametrize(
    "row",
    [
        {"id": "k", "path": "k.wav", "text": "你好"},
        ORIGINAL,
        {"audio_filepath": "k.wav", "text": "你好", "duration": 1.0},
        {"id": "c", "start": 0, "duration": 1, "channel": 0, "supervisions": [{"text": "你好"}], "type": "MonoCut"}
        | {"recording": {"id": "r", "sources": [{"type": "file", "channels": [0], "source": "k.wav"}]}},
    ],
    ids=["osum", "original", "nemo", "lhotse"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_the_format_is_found_out(tmp_path: Path, row: dict[str, object], packed: bool) -> None:
    path = write_lines(tmp_path / "list", ["", row])
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    (line,) = read(path)
    assert line.utterance is not None, line.fault
    assert (line.utterance.text, line.utterance.path) == ("你好", str(tmp_path / "k.wav"))
    assert line.place == f"{path}:2"


def test_a_root_says_where_relative_paths_begin(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "m.jsonl", [ORIGINAL, {**ORIGINAL, "wav": "/far/k.wav"}])
    lines = read(path, root=Path("/data"))
    assert [line.utterance and line.utterance.path for line in lines] == ["/data/k.wav", "/far/k.wav"]


def test_broken_lines_are_reported_and_the_others_go_through(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    broken = [b"{", b"[1]", '{"key": "乱"}'.encode("gbk"), b'{"key": "\\ud800", "wav": "a", "txt": ""}', b'{"key": 1}']
    path.write_bytes(b"\xef\xbb\xbf" + b"\n".join([json.dumps(ORIGINAL).encode(), *broken, b"", b"9" * 5000]))
    lines = read(path)
    assert [line.place for line in lines] == [f"{path}:{number}" for number in (1, 2, 3, 4, 5, 6, 8)]
    assert [line.utterance is not None for line in lines] == [True, *[False] * 6]
    rules = ["not JSON", "no object", "not UTF-8", "surrogate", "no field 'wav'", "not JSON"]
    assert all(rule in (line.fault or "") for rule, line in zip(rules, lines[1:], strict=True))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b'[{"key": 1}]', "jq -c"),
        (b'[\n{"key": 1},\n]', "jq -c"),
        (b'{"name": 1}', "fields name are of no known manifest"),
        ("乱码".encode("utf-16"), "not UTF-8"),
    ],
)
def test_a_file_of_no_known_format_is_one_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "m.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(tmp_path / "m.jsonl")


def test_the_format_is_that_of_the_first_line_that_has_one(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "m.jsonl", [{"name": 1}, "{", {"id": "k", "path": "k.wav"}])
    assert [line.fault is None for line in read(path)] == [False, False, True]


def test_what_is_not_there_or_empty_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.jsonl", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            read(path)


def test_a_gzip_that_is_cut_off_gives_what_is_there(tmp_path: Path) -> None:
    rows = gzip.compress(b"".join(json.dumps({**ORIGINAL, "key": str(n)}).encode() + b"\n" for n in range(9000)))
    (tmp_path / "m.jsonl.gz").write_bytes(rows[: len(rows) // 2])
    lines = read(tmp_path / "m.jsonl.gz")
    assert len([line for line in lines if line.utterance]) > 100
    assert "cut off" in (lines[-1].fault or "")


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30), max_size=6))
def test_any_bytes_are_lines_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(json.dumps(ORIGINAL).encode() + b"\n" + b"\n".join(chunks))
    lines = read(path)
    assert lines[0].utterance is not None
    assert all((line.utterance is None) != (line.fault is None) for line in lines)


# Tars


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_tar_of_the_release_is_read_in_place(tmp_path: Path, format: int) -> None:
    keys = ["a.b", "键" * 50]
    extra = json.dumps({"dataset": "X"})
    members = [m for key in keys for m in original_members(key, "你好<HAPPY>", "<TRANSCRIBE> <EMOTION>", extra=extra)]
    rows = [line.utterance for line in read(write_tar(tmp_path / "s.tar", members, format))]
    assert [(row.id, row.text, row.labels, row.language, row.source) for row in rows if row] == [
        (key, "你好", {"emotion": "happy"}, "zh", "X") for key in keys
    ]
    for row in filter(None, rows):
        assert ClipAudio().read(row).tolist() == load(wav_bytes(seed=len(row.id))).tolist()


def test_rows_of_a_tar_survive_being_written(tmp_path: Path) -> None:
    rows = [line.utterance for line in read(write_tar(tmp_path / "s.tar", original_members("k", "hi")))]
    write_manifest(tmp_path / "m.jsonl", filter(None, rows))
    assert [line.utterance for line in read(tmp_path / "m.jsonl")] == rows


def test_a_name_cut_within_a_character_is_read(tmp_path: Path) -> None:
    # The release's shard maker writes len(str) bytes of a UTF-8 text.
    members = [*original_members("k", "hi"), ("k.speaker", "张三".encode()[:2])]
    (line,) = read(write_tar(tmp_path / "s.tar", [item for item in members if item[0] != "k.lang"]))
    assert line.utterance is not None


def test_a_broken_key_is_reported_and_the_others_go_through(tmp_path: Path) -> None:
    members = [("a.txt", b"no audio"), *original_members("b", "hi"), *original_members("c", "hi<sad>")]
    members += [("d.txt", "乱".encode("gbk")), ("d.wav", wav_bytes())]
    lines = read(write_tar(tmp_path / "s.tar", members))
    assert [line.place.rpartition(":")[2] for line in lines if line.fault] == ["a", "c", "d"]
    assert [line.utterance.id for line in lines if line.utterance] == ["b"]


@pytest.mark.parametrize("share", [0.3, 0.45, 0.55, 0.8])
def test_a_tar_that_is_cut_off_gives_what_is_whole_and_one_fault(tmp_path: Path, share: float) -> None:
    members = [member for key in "abcde" for member in original_members(key, "hi")]
    path = write_tar(tmp_path / "s.tar", members)
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * share)])
    lines = read(path)
    assert [line.place for line in lines if line.fault] == [str(path)]
    assert 1 <= len(lines) - 1 < 5
    assert all(len(ClipAudio().read(line.utterance)) for line in lines if line.utterance)


def test_a_tar_cut_between_two_members_is_noticed(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", original_members("a", "hi"))
    with tarfile.open(path) as tar:
        end = tar.getmembers()[-1].offset
    path.write_bytes(path.read_bytes()[:end])
    assert "end-of-archive" in (read(path)[-1].fault or "")


def test_a_list_of_tars_and_a_folder_of_tars_are_read(tmp_path: Path) -> None:
    for key in "ab":
        write_tar(tmp_path / f"{key}.tar", original_members(key, "hi"))
    listed = write_lines(tmp_path / "shards_list.txt", ["b.tar", "absent.tar", "a.tar"])
    lines = read(listed)
    assert [line.utterance.id if line.utterance else line.place for line in lines] == [
        "b",
        str(tmp_path / "absent.tar"),
        "a",
    ]
    assert [line.utterance.id for line in read(tmp_path) if line.utterance] == ["a", "b"]


def test_every_format_has_a_name() -> None:
    assert FORMATS == ("osum", "original", "nemo", "swift", "lhotse", "tar")
