import pytest
import torch
from torch import Tensor

from osum.checkpoints.convert.convert import Original
from osum.checkpoints.convert.names import ALIASES
from osum.checkpoints.convert.release import OSUM
from osum.checkpoints.convert.sizes import infer_config
from osum.checkpoints.convert.source import Hints
from osum.errors import ConversionError
from osum.model import OsumConfig

from .originals import full_size_keys


def hollow_state(release: str) -> dict[str, Tensor]:
    """The full-size keys and shapes on one number of memory each."""
    shapes = full_size_keys(release)
    state = {key: torch.full((1,), number).expand(shape) for number, (key, shape) in enumerate(shapes.items())}
    head = next(key for key in state if key.startswith("llama_model") and key.endswith("lm_head.weight"))
    table = next(key for key in state if key.startswith("llama_model") and key.endswith("embed_tokens.weight"))
    if release == "echat":
        state[head] = state[table]
    return state | dict(zip(ALIASES, (state[table], state[head]), strict=True))


@pytest.mark.parametrize("release", ["osum", "echat"])
def test_the_full_size_shapes_give_the_preset_and_every_key_fits_its_model(release: str) -> None:
    original = Original.of(hollow_state(release), Hints())
    original.check()
    inferred, preset = original.config.to_dict(), OsumConfig.preset(release).to_dict()
    assert {**inferred, "dtype": None} == {**preset, "dtype": None}


def shapes_of(q_rows: int, k_rows: int, width: int = 64, encoder_width: int = 64) -> dict[str, tuple[int, ...]]:
    return {
        "model.audio_tower.conv1.weight": (encoder_width, 80, 3),
        "model.audio_tower.layers.0.fc1.weight": (64, encoder_width),
        "model.adaptor.layers.0.fc1.weight": (64, encoder_width),
        "model.speech_embedding.weight": (9, width),
        "model.language_model.embed_tokens.weight": (300, width),
        "model.language_model.layers.0.self_attn.q_proj.weight": (q_rows, width),
        "model.language_model.layers.0.self_attn.k_proj.weight": (k_rows, width),
        "model.language_model.layers.0.mlp.gate_proj.weight": (96, width),
    }


@pytest.mark.parametrize(
    ("width", "kv_rows", "heads"), [(896, 128, (14, 2)), (1536, 256, (12, 2)), (3584, 512, (28, 4))]
)
def test_heads_follow_the_rule_of_every_qwen2(width: int, kv_rows: int, heads: tuple[int, int]) -> None:
    text = infer_config(shapes_of(width, kv_rows, width), OSUM, Hints(), tied=False).text_config
    assert (text.num_attention_heads, text.num_key_value_heads) == heads


def test_heads_that_the_rule_does_not_give_are_asked_for_by_their_flags() -> None:
    with pytest.raises(ConversionError, match=r"--llm-heads and --llm-kv-heads, or <stem>\.json"):
        infer_config(shapes_of(64, 32), OSUM, Hints(), tied=False)
    with pytest.raises(ConversionError, match="--encoder-heads"):
        infer_config(shapes_of(128, 128, encoder_width=32), OSUM, Hints(), tied=False)


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ConversionError, match="asked for: 3 and None"):
        infer_config(shapes_of(64, 32), OSUM, Hints(llm_heads=3), tied=False)


def test_the_key_value_heads_follow_from_the_heads() -> None:
    text = infer_config(shapes_of(64, 32), OSUM, Hints(llm_heads=4), tied=False).text_config
    assert text.num_key_value_heads == 2


def test_a_missing_size_is_named_as_the_original_names_it() -> None:
    shapes = shapes_of(128, 128)
    del shapes["model.audio_tower.layers.0.fc1.weight"]
    with pytest.raises(ConversionError, match=r"encoder\.encoders\.0\.feed_forward\.w_1\.weight"):
        infer_config(shapes, OSUM, Hints(), tied=False)
