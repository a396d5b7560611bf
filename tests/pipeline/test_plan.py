"""Plans: what is read, and what a wrong one is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from osum.errors import RecipeError
from osum.pipeline.plan import plan_of, read_plan
from osum.pipeline.step import STEPS, Placed, a_file, step
from pipeline.stage import plan

PLANS = sorted((Path(__file__).parents[2] / "pipelines").glob("*.yaml"))


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_every_plan_of_the_repository_is_read(path: Path) -> None:
    found = read_plan(path)
    assert found.name and found.about and found.steps


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"name": "a", "steps": ["decod"]}, r"steps\[0\]: there is no step 'decod': did you mean 'decode'"),
        (
            {"name": "a", "steps": [{"cut": {"longst": 3}}]},
            r"\[0\].cut: longst is unknown: did you mean 'longest'",
        ),
        ({"name": "a", "steps": [{"cut": {"longest": -1}}]}, "longest is -1: a number above 1 to 600 is needed"),
        ({"name": "a", "steps": [{"cut": {}, "decode": {}}]}, "a step is one name with its options"),
        ({"name": "a", "steps": [3]}, "3 is no step"),
        ({"name": "a", "steps": []}, "steps is empty"),
        ({"name": "a", "stps": ["decode"]}, "steps is missing"),
        ({"steps": ["decode"]}, "name is missing"),
        (["decode"], "an object is needed"),
        ({"name": "a", "steps": ["decode"], "rows_per_shard": 0}, "rows_per_shard is 0"),
    ],
)
def test_a_broken_plan_is_one_line_with_the_nearest_name(found: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as raised:
        plan_of(found)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("steps: [decode")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_plan(tmp_path / "plan.yaml")


def test_the_command_line_wins_over_the_plan() -> None:
    found = plan_of({"name": "a", "steps": ["cut", {"cut": {"pause": 1}}]}, changes=["cut.longest=5"])
    assert [placed.options.longest for placed in found.steps] == [5, 5] and found.steps[1].options.pause == 1
    with pytest.raises(RecipeError, match="with a step of the plan: cut"):
        plan_of({"name": "a", "steps": ["cut"]}, changes=["ct.longest=5"])


def test_the_key_of_a_step_follows_the_content_of_its_files(tmp_path: Path) -> None:
    from dataclasses import dataclass, replace

    @dataclass(frozen=True)
    class Options:
        events: str = a_file()

    def act(row: Any, options: Options) -> Any:
        return row

    act.__annotations__["options"] = Options
    (tmp_path / "a.jsonl").write_text("one")
    (tmp_path / "b.jsonl").write_text("one")
    placed = Placed(replace(STEPS["decode"], options=Options, run=act), Options(str(tmp_path / "a.jsonl")), 1)
    moved = replace(placed, options=Options(str(tmp_path / "b.jsonl")))
    assert placed.key() == moved.key()
    before = placed.key()
    (tmp_path / "a.jsonl").write_text("two")
    assert placed.key() != before
    with pytest.raises(RecipeError, match="does not exist"):
        replace(placed, options=Options(str(tmp_path / "missing"))).key()


def test_an_option_at_its_default_has_the_key_of_one_left_out() -> None:
    one, other = plan({"cut": {"longest": 30}}), plan("cut")
    assert one.steps[0].key() == other.steps[0].key()


def test_two_steps_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two steps 'decode'"):
        step("decode", 1)(lambda row: row)
