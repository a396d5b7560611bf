"""Items of EChat-eval: each column holds its own, and an item that no judge could score is refused by name."""

import json

import numpy as np
import pytest
import soundfile

from osum.errors import InputError
from osum.evaluation.sets.catalogue import BENCHMARKS, SUITES
from osum.evaluation.sets.echat import COLUMNS, ITEMS


@pytest.fixture
def folder(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16000)
    return tmp_path


def item(name, column, **labels):
    return {"id": name, "path": "a.wav", "text": "what a day", "labels": labels, "column": column}


def write(folder, *rows):
    (folder / ITEMS).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def test_each_column_holds_its_items(folder):
    write(
        folder,
        item("1", "emotion", emotion="sad"),
        item("2", "multi", emotion="sad", age="old"),
        item("3", "age", age="old"),
    )
    found = {name: [row.id for row in BENCHMARKS[name].read(folder)] for name in SUITES["echat"]}
    assert found == {
        f"echat-eval-{column}": ids for column, ids in zip(COLUMNS, (["1"], ["3"], [], [], ["2"]), strict=True)
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (item("1", "mood", emotion="sad"), "item '1' has column 'mood': it must be one of emotion, age"),
        (item("1", "emotion", age="old"), "it needs a label of emotion"),
        (item("1", "multi", age="old"), "it needs two labels or more"),
        (item("1", "age", age="old") | {"text": ""}, "item '1' has no text: a judge reads what was said"),
        (item("1", "age", age="old") | {"path": "b.wav"}, "1 of 1 audio files are missing"),
    ],
)
def test_an_item_that_cannot_be_judged_is_refused_by_name(folder, row, message):
    write(folder, row)
    with pytest.raises(InputError, match=message):
        BENCHMARKS["echat-eval-emotion"].read(folder)
