"""Tables, Kaldi folders and Parquet as rows."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile

from osum.corpus.clips import ClipAudio
from osum.corpus.tables import is_table, table_lines
from osum.errors import InputError
from osum.utterance import Utterance


def rows(path: Path) -> list[Utterance]:
    return [line.utterance for line in table_lines(path) if line.utterance]


def faults(path: Path) -> list[str]:
    return [f"{line.place}: {line.fault}" for line in table_lines(path) if line.fault]


def test_a_table_of_common_voice_is_read(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/cv_1.mp3").touch()
    head = "client_id\tpath\tsentence\tup_votes\tage\tgender\tlocale\n"
    (tmp_path / "train.tsv").write_text(head + 'abc\tcv_1.mp3\tHe said "hi\t2\tsixties\tfemale_feminine\ten\n')
    (row,) = rows(tmp_path / "train.tsv")
    assert (row.id, row.path) == ("cv_1", str(tmp_path / "clips/cv_1.mp3"))
    assert (row.text, row.speaker, row.language) == ('He said "hi', "abc", "en")
    assert row.labels == {"gender": "female", "age": "old"} and row.extra["up_votes"] == "2"


def test_a_csv_with_quotes_and_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('\ufeffid,file,transcript,emotion\n1,a.wav,"Hi, ""you""",happy\n2,b.wav\n', "utf-8")
    (row,) = rows(tmp_path / "a.csv")
    assert (row.id, row.text, row.labels) == ("1", 'Hi, "you"', {"emotion": "happy"})
    assert faults(tmp_path / "a.csv") == [f"{tmp_path / 'a.csv'}:3: 4 columns are needed, as in the first line"]


def test_a_table_of_texts_alone_has_no_sound(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\nhello\n")
    assert [(row.text, row.path) for row in rows(tmp_path / "a.tsv")] == [("hello", "-")]


def test_a_table_with_neither_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("one,two\n1,2\n")
    with pytest.raises(InputError, match="columns one, two have neither audio nor text"):
        rows(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes(b"text\n\xff\xfe\n")
    with pytest.raises(InputError, match="save it as UTF-8"):
        rows(tmp_path / "b.csv")


def test_a_kaldi_folder_is_read_with_segments(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("rec1 wav/one.wav\nrec2 sox two.sph -t wav - |\n")
    (tmp_path / "segments").write_text("u1 rec1 0.5 2.0\nu2 rec2 0 1\nu3 rec3 0 1\nu4 rec1 x\n")
    (tmp_path / "text").write_text("u1 hello there\n")
    (tmp_path / "utt2spk").write_text("u1 ann\n")
    (tmp_path / "spk2gender").write_text("ann f\n")
    (row,) = rows(tmp_path)
    assert (row.id, row.path, row.start, row.end) == ("u1", str(tmp_path / "wav/one.wav"), 0.5, 2.0)
    assert (row.text, row.speaker, row.labels) == ("hello there", "ann", {"gender": "female"})
    assert [fault.rpartition(": ")[0].split(":")[-1] for fault in faults(tmp_path)][:1]
    assert "is a command" in faults(tmp_path)[0] and "not in wav.scp" in faults(tmp_path)[1]


def test_sound_inside_a_parquet_file_is_found(tmp_path: Path) -> None:
    file = io.BytesIO()
    samples = np.random.default_rng(0).normal(0, 0.1, 8_000)
    soundfile.write(file, samples, 16_000, format="WAV", subtype="FLOAT")
    cells: list[dict[str, Any]] = [
        {"audio": {"bytes": file.getvalue(), "path": "x/one.wav"}, "sentence": "hello", "gender": "male"},
        {"audio": {"bytes": None, "path": "two.wav"}, "sentence": "bye", "gender": None},
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(cells), tmp_path / "a.parquet")
    first, second = rows(tmp_path / "a.parquet")
    assert (first.id, first.text, first.labels) == ("one", "hello", {"gender": "male"})
    assert np.allclose(ClipAudio().read(first), samples, atol=1e-6)
    assert second.path == str(tmp_path / "two.wav") and is_table(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_text("no")
    with pytest.raises(InputError, match="fetch it again"):
        rows(tmp_path / "b.parquet")
