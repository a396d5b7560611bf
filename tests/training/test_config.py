"""A recipe and its overrides give one run; what is not understood is reported in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from osum.errors import InputError
from osum.tasks import OSUM
from osum.training.config import TrainConfig, read_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


def load(folder: Path, recipe: str, *overrides: str) -> TrainConfig:
    (folder / "recipe.yaml").write_text(recipe, "utf8")
    (run,) = read_recipe(folder / "recipe.yaml", overrides)
    return run


def test_override_wins_over_recipe_and_recipe_over_default(tmp_path: Path) -> None:
    config = load(tmp_path, "steps: 7\nseed: 3", "seed=4")
    assert (config.steps, config.seed, config.batch_seconds) == (7, 4, TrainConfig.batch_seconds)


def test_an_override_reaches_into_a_mapping(tmp_path: Path) -> None:
    config = load(tmp_path, "tasks: {ASR: 1, SGC: 2}", "tasks.ASR=3", "sources.tones=0.5", "freeze=[model.adaptor]")
    assert config.tasks == {"ASR": 3, "SGC": 2} and config.sources == {"tones": 0.5}
    assert list(config.freeze) == ["model.adaptor"]


def test_an_empty_recipe_is_all_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, "") == TrainConfig()


@pytest.mark.parametrize("number", ["1e-3", "0.001", "1.0e-3"])
def test_a_number_may_be_written_with_an_exponent(tmp_path: Path, number: str) -> None:
    config = load(tmp_path, f"learning_rate: {number}", f"weight_decay={number}", "batch_seconds=60")
    assert (config.learning_rate, config.weight_decay, config.batch_seconds) == (0.001, 0.001, 60)


def test_a_config_comes_back_from_its_values(tmp_path: Path) -> None:
    config = load(tmp_path, "tasks: {ASR: 1}", "seed=9")
    assert TrainConfig(**config.to_dict()) == config


@pytest.mark.parametrize(
    ("recipe", "override", "reason"),
    [
        ("", "lerning_rate=1", "'lerning_rate' is no training option: did you mean 'learning_rate'?"),
        ("stepz: 3", "seed=1", "did you mean 'steps'?"),
        ("", "xyzzy=1", "the keys are activation_checkpointing, "),
        ("", "steps", "'steps' is no override: write key=value"),
        ("", "=3", "'=3' is no override"),
        ("", "steps.x=3", "'steps.x=3' is no override|is no training option|is needed"),
        ("steps: 3", "steps.x=3", "'steps.x=3' is no override"),
        ("", "steps=[1", "is no override"),
        ("", "steps=many", "steps is 'many': a whole number is needed"),
        ("", "steps=1.5", "steps is 1.5: a whole number is needed"),
        ("", "seed=true", "seed is True: a whole number is needed"),
        ("", "learning_rate=fast", "learning_rate is 'fast': a number is needed"),
        ("", "model=3", "model is 3: a text is needed"),
        ("", "freeze=model", "freeze is 'model': a list is needed"),
        ("tasks: [ASR]", "seed=1", "tasks is .'ASR'.: a mapping of name: value is needed"),
        ("- a list", "seed=1", "holds a list: write lines of key: value"),
        ("a: [", "seed=1", "recipe.yaml' cannot be read"),
    ],
)
def test_what_is_not_understood_is_one_line(tmp_path: Path, recipe: str, override: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason.replace("?", r"\?")) as caught:
        load(tmp_path, recipe, override)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_there_is_one_line() -> None:
    with pytest.raises(InputError, match=r"recipe 'absent\.yaml' cannot be read"):
        read_recipe("absent.yaml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_of_the_repository_are_read_and_name_known_tasks(path: Path) -> None:
    for config in read_recipe(path):
        assert {*config.tasks, *config.evidence} <= set(OSUM)


STAGES = """
steps: 9
tasks: {ASR: 1, SGC: 2}
stages:
  one: {steps: 3, tasks: {SGC: 4}}
  two: {seed: 5}
"""


def stages(folder: Path, *overrides: str) -> tuple[TrainConfig, ...]:
    (folder / "recipe.yaml").write_text(STAGES, "utf8")
    return read_recipe(folder / "recipe.yaml", overrides)


def test_a_stage_differs_from_the_rest_of_its_recipe_in_what_it_names(tmp_path: Path) -> None:
    one, two = stages(tmp_path)
    assert (one.steps, one.seed, one.tasks, one.out) == (3, 1, {"ASR": 1, "SGC": 4}, "runs/train/one")
    assert (two.steps, two.seed, two.tasks, two.out) == (9, 5, {"ASR": 1, "SGC": 2}, "runs/train/two")


def test_an_override_holds_for_every_stage_or_for_the_one_that_it_names(tmp_path: Path) -> None:
    one, two = stages(tmp_path, "steps=7", "out=x", "stages.two.tasks.SGC=8", "tasks.ASR=6")
    assert [(run.steps, run.out) for run in (one, two)] == [(7, "x/one"), (7, "x/two")]
    assert (one.tasks, two.tasks) == ({"ASR": 6, "SGC": 4}, {"ASR": 6, "SGC": 8})


def test_a_misspelt_stage_is_reported_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no stage 'twoo': did you mean 'two'"):
        stages(tmp_path, "stages.twoo.steps=3")
    with pytest.raises(InputError, match="no stage 'one': its stages are none"):
        load(tmp_path, "steps: 3", "stages.one.steps=3")


@pytest.mark.parametrize("stages", ["[a]", "{}", "{a: 3}", "3"])
def test_stages_of_another_form_are_reported(tmp_path: Path, stages: str) -> None:
    with pytest.raises(InputError, match=r"a mapping of name: \{key: value\} is needed"):
        load(tmp_path, f"stages: {stages}")


def test_a_stage_with_an_unknown_key_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'stepz' is no training option: did you mean 'steps'"):
        load(tmp_path, "stages: {a: {stepz: 3}}")
