import json

import pytest

pytest.importorskip("sklearn")
import ablations
from ablations import VARIANTS, Variant, chosen, config_of, scores, show, with_layout

from osum.utterance import Answer, Segment, Utterance

GENDERS = ("female", "male", "male")


def clip(name, **changes):
    row = Utterance(
        id=name, path="a", text="two", labels={"gender": "male"}, speaker=name, source="dspspeech20",
        extra={"evidence": "real"},
    )  # fmt: skip
    return row.with_(**changes)


def heard(task, gender, text="two"):
    return Utterance(id="x", path="-", segments=(Segment(0, 1, text, labels={task: Answer(gender)}),))


def test_runs_differ_from_base_in_one_thing(tmp_path):
    configs = {name: config_of(variant, tmp_path, tmp_path / "x", 5).to_dict() for name, variant in VARIANTS.items()}
    base = configs["base"]
    changed = {name: [key for key in base if base[key] != config[key]] for name, config in configs.items()}
    assert changed == {"base": [], "X alone": ["tasks"], "prompt first": [], "no augmentation": ["augment"]}
    assert list(configs["X alone"]["tasks"].values()) == list(base["tasks"].values())
    assert [name for name, variant in VARIANTS.items() if variant.layout != Variant().layout] == ["prompt first"]


def test_a_start_gets_another_layout_and_keeps_its_weights(tmp_path):
    start = tmp_path / "start"
    start.mkdir()
    for name in ("config.json", "processor_config.json"):
        (start / name).write_text('{"layout": "speech_first", "more": 1}', encoding="utf-8")
    (start / "model.safetensors").write_bytes(b"weights")
    (start / "chat_template.jinja").write_text("of the other layout", encoding="utf-8")
    made = with_layout(start, "prompt_first", tmp_path / "made")
    assert made == with_layout(start, "prompt_first", made)
    assert json.loads((made / "config.json").read_text(encoding="utf-8")) == {"layout": "prompt_first", "more": 1}
    assert sorted(path.name for path in made.iterdir()) == ["config.json", "model.safetensors", "processor_config.json"]


def test_clips_that_teach_nothing_of_the_kind_are_not_asked(monkeypatch):
    monkeypatch.setattr(ablations, "PER_GROUP", 1)
    rows = [clip("a"), clip("b"), clip("c", source="emogator", text="", labels={"emotion": "happy"})]
    assert len(chosen(rows)) == 1


def test_the_table_has_a_column_for_each_run_and_a_line_for_each_figure():
    rows = [clip(name, labels={"gender": gender}) for name, gender in zip("abc", GENDERS, strict=True)]
    losses = {"loss": 1.234, "ctc": 0.567}
    right = scores(rows, {row.id: heard("SGC", row.labels["gender"]) for row in rows})
    wrong = scores(rows, {row.id: heard("SGC-only", "female", "six") for row in rows}, "-only")
    found = {"base": {"clean": right, "noisy": wrong, "losses": losses}, "X alone": {"clean": wrong, "losses": losses}}
    assert show(found).splitlines() == [
        "|  | n | base | X alone |",
        "| --- | --- | --- | --- |",
        "| gender, clean | 3 | 100.0 [100.0, 100.0] | 33.3 [0.0, 100.0] |",
        "| digits and words, MER, clean | 3 | 0.0 [0.0, 0.0] | 100.0 [100.0, 100.0] |",
        "| gender, noisy | 3 | 33.3 [0.0, 100.0] | – |",
        "| digits and words, MER, noisy | 3 | 100.0 [100.0, 100.0] | – |",
        "| validation loss of answers |  | 1.23 | 1.23 |",
        "| validation loss of letters (CTC) |  | 0.57 | 0.57 |",
    ]
