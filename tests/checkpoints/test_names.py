import pytest

from osum.checkpoints.convert.names import plan_keys, shorten, split_lora, to_ours, to_theirs, without_peft
from osum.errors import ConversionError

from .originals import full_size_keys


@pytest.mark.parametrize(("release", "number"), [("osum", 1128), ("echat", 888)])
def test_no_key_of_the_full_size_is_unaccounted_for(release: str, number: int) -> None:
    keys = full_size_keys(release)
    plan = plan_keys(keys)
    pairs = [key for pair in plan.lora.values() for key in pair.values()]
    assert len(keys) == number
    assert sorted([*plan.weights.values(), *pairs, *plan.aliases, *plan.unused]) == sorted(keys)


@pytest.mark.parametrize("release", ["osum", "echat"])
def test_names_go_there_and_back(release: str) -> None:
    for name, key in plan_keys(full_size_keys(release)).weights.items():
        assert to_theirs(name) == without_peft(key)


def test_an_adapter_key_names_its_weight_with_and_without_the_adapters_name() -> None:
    module = "llama_model.base_model.model.model.layers.3.self_attn.q_proj"
    expected = ("model.language_model.layers.3.self_attn.q_proj.weight", "A")
    assert split_lora(f"{module}.lora_A.default.weight") == split_lora(f"{module}.lora_A.weight") == expected


def test_old_peft_names_without_base_layer_are_the_same_weights() -> None:
    new = "llama_model.base_model.model.model.layers.0.mlp.gate_proj.base_layer.weight"
    assert (
        to_ours(new)
        == to_ours(new.replace(".base_layer", ""))
        == to_ours("llama_model.model.layers.0.mlp.gate_proj.weight")
    )


def test_an_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(ConversionError, match=r"unexpected keys: encoder\.surprise"):
        plan_keys(["encoder.surprise", "encoder.after_norm.weight"])


def test_half_a_pair_is_refused_by_name() -> None:
    with pytest.raises(ConversionError, match="lora_A"):
        plan_keys(["llama_model.base_model.model.model.layers.0.mlp.gate_proj.lora_A.default.weight"])


def test_two_keys_of_one_tensor_are_refused() -> None:
    with pytest.raises(ConversionError, match="unexpected keys"):
        plan_keys(["llama_model.model.norm.weight", "llama_model.base_model.model.model.norm.weight"])


def test_long_lists_are_shortened() -> None:
    assert shorten([str(n) for n in range(13)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 3 more"
