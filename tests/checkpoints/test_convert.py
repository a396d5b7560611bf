import json
from pathlib import Path

import pytest
import torch
from model.tiny import noise, tiny_processor
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from osum.checkpoints.convert import convert
from osum.checkpoints.convert.lora import merge
from osum.errors import ConversionError
from osum.model import OsumForConditionalGeneration
from osum.tasks import ECHAT, RELEASE, TaskSet

from .originals import HEADS, RANK, random_original, write_original

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # in peft
GATE = "layers.1.mlp.gate_proj"


def converted(folder: Path, state: dict[str, Tensor], **options: object) -> OsumForConditionalGeneration:
    convert(write_original(folder, state), folder / "ours", **{**HEADS, **options})
    return OsumForConditionalGeneration.from_pretrained(folder / "ours").eval()


@pytest.mark.parametrize(("release", "layout", "answer_end"), [("osum", "prompt_first", 258), ("echat", "chatml", 258)])
def test_a_release_is_recognised_by_its_keys(tmp_path: Path, release: str, layout: str, answer_end: int) -> None:
    model = converted(tmp_path, random_original(release))
    assert model.config.layout == layout
    assert model.config.speech_output == model.config.tie_word_embeddings == (release == "echat")
    assert model.generation_config.eos_token_id == answer_end


@pytest.mark.parametrize("release", ["osum", "echat"])
def test_every_tensor_arrives(tmp_path: Path, release: str) -> None:
    state = random_original(release)
    convert(write_original(tmp_path, state), tmp_path / "ours", **HEADS)
    ours = load_file(tmp_path / "ours" / "model.safetensors")
    assert torch.equal(
        ours["model.audio_tower.layers.1.fc1.weight"], state["encoder.encoders.1.feed_forward.w_1.weight"]
    )
    assert torch.equal(ours["model.adaptor.convs.2.bias"], state["down_sample_2.conv.7.bias"])
    assert torch.equal(ours["model.speech_embedding.weight"], state["speech_token_emded.weight"])
    assert torch.equal(ours["model.adaptor.embed_positions.weight"], state["speech_transformer.embed.pos_enc.pe"][0])
    assert ("lm_head.weight" in ours) == (release == "osum")


def test_position_tables_of_the_file_are_used_not_computed(tmp_path: Path) -> None:
    state = random_original("osum")
    model = converted(tmp_path, state)
    table = model.model.audio_tower.embed_positions.weight.float()
    assert torch.equal(table, state["encoder.embed.pos_enc.pe"][0].to(model.dtype).float())


def test_merging_adds_the_scaled_product_in_float32() -> None:
    base, down, up = torch.randn(6, 4).bfloat16(), torch.randn(2, 4), torch.randn(6, 2)
    expected = (base.double() + 4 * up.double() @ down.double()).bfloat16()
    assert torch.equal(merge(base, down, up, 4.0), expected)
    assert base.dtype == torch.bfloat16


def test_merged_weights_hold_alpha_over_rank_of_the_adapter(tmp_path: Path) -> None:
    state = random_original("osum", lora=True)
    convert(write_original(tmp_path, state, {"lora_alpha": 6}), tmp_path / "ours", **HEADS)
    ours = load_file(tmp_path / "ours" / "model.safetensors")[f"model.language_model.{GATE}.weight"]
    key = f"llama_model.base_model.model.model.{GATE}"
    pair = (state[f"{key}.lora_{side}.default.weight"] for side in "AB")
    assert torch.equal(ours, merge(state[f"{key}.base_layer.weight"], *pair, 6 / RANK))


def test_a_kept_adapter_is_loaded_by_peft_and_answers_like_the_merged_model(tmp_path: Path) -> None:
    state = {key: value.float() for key, value in random_original("osum", lora=True).items()}
    merged = converted(tmp_path / "a", state, lora="merge")
    kept = PeftModel.from_pretrained(converted(tmp_path / "b", state, lora="keep"), tmp_path / "b" / "ours" / "adapter")
    processor = tiny_processor("prompt_first")
    inputs = processor(text=processor.request("hi"), audio=noise(9000))
    with torch.no_grad():
        assert (merged(**inputs).logits - kept(**inputs).logits).abs().max() < 1e-3
        assert (merged(**inputs).logits - kept.get_base_model().eval()(**inputs).logits).abs().max() < 1e-3
        with kept.disable_adapter():
            assert (merged(**inputs).logits - kept(**inputs).logits).abs().max() > 1e-2


def test_a_kept_adapter_stays_float32_and_off_the_encoder(tmp_path: Path) -> None:
    base = converted(tmp_path, random_original("osum", lora=True), lora="keep", shard_bytes=10**9)
    adapted = PeftModel.from_pretrained(base.bfloat16(), tmp_path / "ours" / "adapter")
    lora = {name: p.dtype for name, p in adapted.named_parameters() if "lora_" in name}
    assert len(lora) == 2 * 6 * 2
    assert set(lora.values()) == {torch.float32}
    assert all(".language_model." in name and "up_proj" not in name for name in lora)


@pytest.mark.parametrize("style", ["old peft", "no second names", "deepspeed", "safetensors"])
def test_every_style_of_file_gives_the_same_weights(tmp_path: Path, style: str) -> None:
    state = random_original("osum", lora=True)
    plain = converted(tmp_path / "plain", state).state_dict()
    if style == "old peft":
        state = {key.replace(".base_layer", ""): value for key, value in state.items()}
    if style in {"no second names", "safetensors"}:
        state = {key: value for key, value in state.items() if key not in {"embed_tokens.weight", "lm_head.weight"}}
    file = write_original(tmp_path / "other", {"module": state, "step": 3} if style == "deepspeed" else state)
    if style == "safetensors":
        file = file.with_suffix(".safetensors")
        save_file(state, file)
    convert(file, tmp_path / "ours", **HEADS)
    ours = OsumForConditionalGeneration.from_pretrained(tmp_path / "ours").state_dict()
    assert all(torch.equal(ours[name], value) for name, value in plain.items())


def test_heads_come_from_the_originals_yaml_and_the_language_models_folder(tmp_path: Path) -> None:
    source = write_original(tmp_path, random_original("osum"))
    (tmp_path / "qwen").mkdir()
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "eos_token_id": 256}
    (tmp_path / "qwen" / "config.json").write_text(json.dumps(heads))
    (tmp_path / "infer.yaml").write_text("llm_path: qwen\nencoder_conf:\n  attention_heads: 2\nlora_alpha: 32\n")
    convert(source, tmp_path / "ours")
    config = OsumForConditionalGeneration.from_pretrained(tmp_path / "ours").config
    assert (config.audio_config.num_attention_heads, config.text_config.num_key_value_heads) == (2, 2)
    assert config.text_config.rms_norm_eps == 1e-5


def test_missing_position_tables_are_computed_and_said(tmp_path: Path) -> None:
    state = {key: value for key, value in random_original("echat").items() if not key.endswith(".pe")}
    report = convert(write_original(tmp_path, state), tmp_path / "ours", **HEADS)
    config = OsumForConditionalGeneration.from_pretrained(tmp_path / "ours").config
    assert report.computed == ("encoder.embed.pos_enc.pe", "speech_transformer.embed.pos_enc.pe")
    assert config.audio_config.max_source_positions == 30_000
    assert config.adaptor_config.max_source_positions == 5000


def changed(state: dict[str, Tensor], **changes: Tensor | None) -> dict[str, Tensor]:
    merged = {**state, **{key.replace("__", "."): value for key, value in changes.items()}}
    return {key: value for key, value in merged.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder__after_norm__weight": None}, r"missing keys: encoder\.after_norm\.weight; .*not a whole osum"),
        ({"encoder__after_norm__extra": torch.ones(1)}, r"unexpected keys: encoder\.after_norm\.extra"),
        (
            {"speech_llama_proj__bias": torch.ones(3)},
            r"wrong shapes: speech_llama_proj\.bias \(3,\) instead of \(32,\)",
        ),
        ({"optimizer": torch.ones(1)}, "unexpected keys: optimizer"),
        ({"lm_head__weight": torch.ones(264, 32)}, r"lm_head\.weight differs from llama_model\.lm_head\.weight"),
        ({"speaker_head__weight": None}, "neither of speaker_head.weight and speech_head.weight"),
        ({"speech_head__weight": torch.ones(7, 32)}, "both of speaker_head.weight and speech_head.weight"),
    ],
)
def test_keys_that_do_not_fit_are_listed(tmp_path: Path, changes: dict[str, Tensor | None], message: str) -> None:
    source = write_original(tmp_path, changed(random_original("osum"), **changes))
    with pytest.raises(ConversionError, match=message):
        convert(source, tmp_path / "ours", **HEADS)
    assert not (tmp_path / "ours").exists()


def test_many_missing_keys_are_counted(tmp_path: Path) -> None:
    state = {
        key: value for key, value in random_original("osum").items() if not key.startswith("encoder.encoders.0.self")
    }
    state = {key: value for key, value in state.items() if not key.startswith("speech_transformer.encoders.0.self")}
    with pytest.raises(ConversionError, match="and 5 more"):
        convert(write_original(tmp_path, state), tmp_path / "ours", **HEADS)


def test_adapters_of_two_ranks_are_refused(tmp_path: Path) -> None:
    state = random_original("osum", lora=True)
    key = f"llama_model.base_model.model.model.{GATE}.lora_"
    state |= {f"{key}A.default.weight": torch.ones(3, 32), f"{key}B.default.weight": torch.ones(48, 3)}
    with pytest.raises(ConversionError, match=r"LoRA of ranks \[2, 3\]"):
        convert(write_original(tmp_path, state), tmp_path / "ours", **HEADS)


def test_an_adapter_that_some_layers_lack_is_refused(tmp_path: Path) -> None:
    state = {key: value for key, value in random_original("osum", lora=True).items() if f"{GATE}.lora" not in key}
    with pytest.raises(ConversionError, match="same projections of every layer"):
        convert(write_original(tmp_path, state), tmp_path / "ours", **HEADS)


def test_a_vocabulary_without_the_answers_end_asks_for_it(tmp_path: Path) -> None:
    source = write_original(tmp_path, random_original("osum"))
    with pytest.raises(ConversionError, match="--answer-end-token-id"):
        convert(source, tmp_path / "ours", **{**HEADS, "answer_end_token_id": None})


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path: Path) -> None:
    source = write_original(tmp_path, random_original("osum"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConversionError, match="not empty"):
        convert(source, tmp_path / "full", **HEADS)
    with pytest.raises(ConversionError, match="is no checkpoint folder"):
        convert(source, tmp_path / "full", overwrite=True, **HEADS)
    assert (tmp_path / "full" / "thesis.txt").exists()


def test_a_checkpoint_is_overwritten_when_asked(tmp_path: Path) -> None:
    source = write_original(tmp_path, random_original("osum"))
    convert(source, tmp_path / "ours", **HEADS)
    assert convert(source, tmp_path / "ours", overwrite=True, **HEADS).num_files == 1


def test_the_report_says_what_was_kept_and_what_is_left_to_do(tmp_path: Path) -> None:
    report = convert(write_original(tmp_path, random_original("osum", lora=True)), tmp_path / "ours", **HEADS)
    assert report.unused == ("ln_speech.weight", "ln_speech.bias", "speaker_head.weight", "speaker_head.bias")
    assert "add_tokenizer" in report.notes[0] and "Qwen/Qwen2-7B" in report.notes[0]
    assert "LoRA: merged" in str(report)


@pytest.mark.parametrize(("release", "tasks"), [("osum", RELEASE), ("echat", ECHAT)])
def test_a_checkpoint_carries_the_tasks_of_its_release(tmp_path: Path, release: str, tasks: TaskSet) -> None:
    convert(write_original(tmp_path, random_original(release)), tmp_path / "ours", **HEADS)
    held = json.loads((tmp_path / "ours" / "tasks.json").read_text())
    assert held == tasks.to_dict()
    assert TaskSet.from_dict(held).tasks == tasks.tasks


def test_the_files_are_readable_by_others(tmp_path: Path) -> None:
    convert(write_original(tmp_path, random_original("osum")), tmp_path / "ours", **HEADS)
    modes = {file.stat().st_mode & 0o777 for file in (tmp_path / "ours").iterdir()}
    assert len(modes) == 1
