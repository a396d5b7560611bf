import pytest

from osum.errors import TaskError
from osum.tasks import AGES, EVENTS, STYLES, LabelSet


def test_labels_are_found_in_any_case_and_by_raw_names():
    assert EVENTS.canonical(" Throat_Clearing ") == "throat clearing"
    assert AGES.canonical("MIDDLE_AGE") == AGES.canonical("YOUTH") == "adult"
    assert STYLES.canonical("武侠评书") == "有声书"
    assert STYLES.canonical("童话故事") == "童话故事"
    assert AGES.canonical("ancient") is None


def test_tags_are_the_labels_in_brackets():
    assert EVENTS.tags[:2] == ("<laugh>", "<cough>")


def test_every_chinese_style_has_an_english_name():
    assert all(STYLES.title(label).isascii() for label in STYLES.labels)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "Pitch", "labels": ("low",)},
        {"name": "pitch", "labels": ()},
        {"name": "pitch", "labels": ("Low",)},
        {"name": "pitch", "labels": ("<low>",)},
        {"name": "pitch", "labels": ("very low", "very_low")},
        {"name": "pitch", "labels": ("low",), "folds": {"deep": "lowest"}},
        {"name": "pitch", "labels": ("low",), "display": {"lowest": "deep"}},
    ],
    ids=str,
)
def test_a_label_set_that_cannot_work_is_refused(fields):
    with pytest.raises(TaskError):
        LabelSet(**fields)
