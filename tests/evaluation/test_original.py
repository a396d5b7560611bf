"""The original's scores, worked out by hand from its scripts' rules (OSUM specification 3.6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from osum.errors import InputError
from osum.evaluation.score.original import score_original, units_of

REF = """\
a1 你好<HAPPY>
a2 good morning<ADULT><FEMALE>
a3 今天天气<NEUTRAL>
a5 早<SAD>

"""
HYP = """\
a1 你 好<happy>
a2 good mornin<adult><male>
a3 今天 hello，天<开始回答>好
a4 晚<sad>
"""


def write(tmp_path: Path, ref: str = REF, hyp: str = HYP) -> tuple[Path, Path]:
    (tmp_path / "ref").write_text(ref, "utf8")
    (tmp_path / "hyp").write_text(hyp, "utf8")
    return tmp_path / "ref", tmp_path / "hyp"


def test_errors_are_those_of_the_original(tmp_path: Path) -> None:
    """a1: none of 2. a2: one of 2, its tags gone. a3, of 4: hello, 开始回答 and > put in, 气 became the reply's 好.
    a4 and a5 do not pair."""
    found = score_original(*write(tmp_path), labelled=True)
    assert (found.errors, found.units, found.utterances) == (0 + 1 + (1 + 4 + 1 + 1), 2 + 2 + 4, 3)
    assert found.error_rate == 100.0


def test_accuracy_is_that_of_the_original(tmp_path: Path) -> None:
    """a1 is right, a2 by its first tag though the second is wrong, a3 and a4 (not in ref) are wrong."""
    found = score_original(*write(tmp_path), labelled=True)
    assert (found.right, found.asked, found.accuracy) == (2, 4, 50.0)


def test_no_tag_equals_no_tag(tmp_path: Path) -> None:
    assert score_original(*write(tmp_path, "a x\nb y\n", "a x\nb y<sad>\n"), labelled=True).accuracy == 50.0


def test_a_task_without_labels_has_no_accuracy(tmp_path: Path) -> None:
    assert score_original(*write(tmp_path), labelled=False).accuracy is None


@pytest.mark.parametrize(
    ("line", "units"),
    [
        ("k 你好world 1", ["k", "你", "好", "world", "1"]),
        ("k don't stop.", ["k", "don't", "stop."]),  # a full stop stays, and makes the word another
        ("k yes, no!", ["k", "yes,", "no!"]),  # in the middle of a run punctuation stays as well
        ("k ， 好 。", ["k", "好"]),
        ("k <sad><happy>ok", ["k", "<sad>", "<happy>", "ok"]),
        ("k well<throat clearing>", ["k", "well<throat", "clearing>"]),
        ("k <throat clearing>", ["k", "<throat", "clearing>"]),
        ("k <日常口语>", ["k", "<", "日", "常", "口", "语", ">"]),
        ("k naïve", ["k", "na", "ïve"]),
        ("钥1 你", ["钥", "1", "你"]),  # a key of Chinese is cut as well
        ("", []),
    ],
)
def test_lines_are_cut_as_the_original_cuts_them(line: str, units: list[str]) -> None:
    assert units_of(line) == units


def test_files_that_do_not_pair_are_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no key in common"):
        score_original(*write(tmp_path, "a b\n", "c d\n"), labelled=False)
    with pytest.raises(InputError, match="cannot be read"):
        score_original(tmp_path / "none", tmp_path / "hyp", labelled=False)
