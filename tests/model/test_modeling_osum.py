"""What Hugging Face users and servers expect of the class (contract), and its refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoProcessor,
    LogitsProcessorList,
    TextIteratorStreamer,
)

from osum.audio import SAMPLE_RATE
from osum.model import OsumAudioConfig, OsumConfig, OsumForConditionalGeneration, OsumModel, OsumProcessor

from .tiny import LAYOUTS, noise, tiny_config, tiny_model, tiny_processor

peft_warning = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
CHAT_LAYOUTS = LAYOUTS[1:]


def request(layout: str = "prompt_first", num_samples: int = 9000, **options: Any) -> Any:
    processor = tiny_processor(layout)
    return processor(text=processor.request("what"), audio=noise(num_samples), **options)


def sizes(config: OsumConfig) -> list[dict[str, Any]]:
    parts = (config.audio_config, config.adaptor_config, config.text_config)
    return [{name: value for name, value in part.to_dict().items() if name != "dtype"} for part in parts]


def test_one_sample_rate_is_known_to_audio_and_model() -> None:
    assert OsumAudioConfig().sampling_rate == SAMPLE_RATE


@torch.no_grad()
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("max_shard_size", ["5GB", "20KB"])
def test_a_saved_model_comes_back_by_the_auto_classes(tmp_path: Path, layout: str, max_shard_size: str) -> None:
    model = tiny_model(layout)
    model.save_pretrained(tmp_path, max_shard_size=max_shard_size)
    tiny_processor(layout, "be short").save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert isinstance(again, OsumForConditionalGeneration)
    assert isinstance(AutoModel.from_pretrained(tmp_path), OsumModel)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), OsumConfig)
    assert sizes(again.config) == sizes(model.config)
    assert torch.equal(again.eval()(**request(layout)).logits, model(**request(layout)).logits)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (max_shard_size == "20KB")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_saved_processor_comes_back_by_the_auto_class(tmp_path: Path, layout: str) -> None:
    processor = tiny_processor(layout, "be short")
    processor.save_pretrained(tmp_path)
    tiny_config(layout).save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(again, OsumProcessor)
    assert again.request("hi") == processor.request("hi")
    assert (again.audio_bos_token_id, again.answer_end_token_id) == (
        processor.audio_bos_token_id,
        processor.answer_end_token_id,
    )


@torch.no_grad()
def test_audio_features_are_one_tensor_per_clip() -> None:
    model, processor = tiny_model(), tiny_processor()
    clips = [noise(16_000), noise(9_999)]
    inputs = processor(text=[processor.request("x")] * 2, audio=clips)
    features = model.get_audio_features(inputs["input_features"], inputs["feature_attention_mask"])
    assert [tuple(row.shape) for row in features] == [(model.config.num_audio_tokens(len(clip)), 32) for clip in clips]


def test_servers_find_the_parts_they_need() -> None:
    model = tiny_model()
    assert model.get_encoder() is model.model.audio_tower
    assert model.language_model is model.model.language_model
    assert model.base_model is model.model
    assert model.get_input_embeddings() is model.language_model.embed_tokens
    assert model.get_output_embeddings() is model.lm_head
    assert tiny_processor().audio_token == "<|audio|>"
    assert tiny_processor().audio_token_id == model.config.audio_token_id


@pytest.mark.parametrize("layout", CHAT_LAYOUTS)
@pytest.mark.parametrize("num_beams", [1, 2, 4])
def test_several_clips_in_one_conversation_are_read_in_their_order(layout: str, num_beams: int) -> None:
    model, processor = tiny_model(layout), tiny_processor(layout)

    def ask(*clips: Any) -> list[int]:
        parts = [{"type": "audio", "audio": clip} for clip in clips]
        inputs = processor.apply_chat_template([{"role": "user", "content": [*parts, {"type": "text", "text": "?"}]}])
        return model.generate(**inputs, max_new_tokens=8, do_sample=False, eos_token_id=None, num_beams=num_beams)[
            0, inputs["input_ids"].shape[1] :
        ].tolist()

    first, second = noise(9000, 1), noise(12_345, 2)
    assert len({tuple(ask(first, second)), tuple(ask(second, first)), tuple(ask(first))}) > 1
    assert ask(first, second) == ask(first, second)


@torch.no_grad()
@pytest.mark.parametrize("layout", CHAT_LAYOUTS)
def test_conversations_of_one_and_of_two_clips_share_a_batch(layout: str) -> None:
    model, processor = tiny_model(layout), tiny_processor(layout)
    texts = [processor.request("one"), processor.request("both", num_audio=2)]
    clips = [noise(9000, 1), noise(12_345, 2), noise(4000, 3)]
    together = model(**processor(text=texts, audio=clips)).logits
    alone = model(**processor(text=texts[1], audio=clips[1:])).logits[0]
    assert (together[1, -len(alone) :] - alone).abs().max() < 1e-4


def test_a_streamer_gets_the_answer_as_it_comes() -> None:
    model, processor = tiny_model(), tiny_processor()
    streamer = TextIteratorStreamer(processor, skip_prompt=True)
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    ids = model.generate(**request(), streamer=streamer, **options)
    assert "".join(streamer) == processor.decode(ids[0, request()["input_ids"].shape[1] :])


def test_sampling_is_decided_by_the_seed() -> None:
    model = tiny_model()

    def draw(seed: int) -> list[int]:
        torch.manual_seed(seed)
        return model.generate(**request(), max_new_tokens=8, do_sample=True, eos_token_id=None)[0].tolist()

    assert draw(1) == draw(1)
    assert len({tuple(draw(seed)) for seed in range(4)}) > 1


def test_a_logits_processor_of_the_caller_is_used() -> None:
    def only_seven(_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return torch.full_like(scores, -torch.inf).index_fill_(1, torch.tensor([7]), 0.0)

    ids = tiny_model().generate(**request(), max_new_tokens=3, logits_processor=LogitsProcessorList([only_seven]))
    assert ids[0, -3:].tolist() == [7, 7, 7]


def test_generate_can_return_scores_and_the_prompt_in_front() -> None:
    output = tiny_model().generate(
        **request(), max_new_tokens=3, eos_token_id=None, return_dict_in_generate=True, output_scores=True
    )
    prompt = request()["input_ids"]
    assert len(output.scores) == 3
    assert torch.equal(output.sequences[:, : prompt.shape[1]], prompt)


@peft_warning
def test_peft_adapts_the_language_model_and_loads_again(tmp_path: Path) -> None:
    config = LoraConfig(r=2, target_modules=r".*language_model.*\.(q_proj|down_proj)", task_type="CAUSAL_LM")
    adapted = get_peft_model(tiny_model(), config)
    adapted(**request(answers=["yes"])).loss.backward()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                assert parameter.grad.abs().sum() > 0
                parameter.add_(0.1)
    adapted.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny_model(), tmp_path)
    with torch.no_grad():
        assert torch.equal(again.eval()(**request()).logits, adapted.eval()(**request()).logits)
    assert torch.equal(again.generate(**request(), max_new_tokens=4), adapted.generate(**request(), max_new_tokens=4))


@torch.no_grad()
@pytest.mark.parametrize("device_map", ["cpu", "auto", {"model": "cpu", "lm_head": "cpu"}])
def test_a_device_map_places_the_model(tmp_path: Path, device_map: Any) -> None:
    tiny_model().save_pretrained(tmp_path)
    placed = OsumForConditionalGeneration.from_pretrained(tmp_path, device_map=device_map).eval().to("cpu")
    assert torch.equal(placed(**request()).logits, tiny_model()(**request()).logits)


def test_a_checkpoint_of_bf16_is_loaded_as_bf16(tmp_path: Path) -> None:
    tiny_model().bfloat16().save_pretrained(tmp_path)
    assert OsumForConditionalGeneration.from_pretrained(tmp_path).dtype == torch.bfloat16


def test_speech_ids_are_read_and_answered_beyond_the_text_ids() -> None:
    model = tiny_model("chatml")
    num_text = model.config.text_config.vocab_size
    ids = torch.tensor([[5, num_text, num_text + 6, num_text + 8]])
    embeddings = model.model.embed_ids(ids)[0]
    assert torch.equal(embeddings[1:], model.model.speech_embedding.weight[[0, 6, 8]])
    assert model(input_ids=ids).logits.shape == (1, 4, num_text + 7)
    assert len(model.language_model.embed_tokens.weight) == num_text


def test_placeholders_and_audio_that_do_not_agree_are_refused() -> None:
    inputs = request()
    with pytest.raises(ValueError, match="build the inputs with OsumProcessor"):
        tiny_model()(input_ids=inputs["input_ids"][:, 1:][:, :-3], input_features=inputs["input_features"])


def test_audio_beyond_the_position_table_is_refused() -> None:
    config = {**tiny_config().audio_config.to_dict(), "max_source_positions": 10}
    model = OsumForConditionalGeneration(tiny_config(audio_config=config))
    with pytest.raises(ValueError, match=r"at most 0\.2 s; cut the audio"):
        model(**request())


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(KeyError, match="osum, echat, nano"):
        OsumConfig.preset("huge")


@pytest.mark.parametrize(("name", "millions"), [("osum", 7987.6), ("echat", 3480.0)])
def test_the_presets_have_the_released_sizes(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = OsumForConditionalGeneration(OsumConfig.preset(name))
    tables = sum(p.numel() for n, p in model.named_parameters() if "embed_positions" in n)
    assert (model.num_parameters() - tables) / 1e6 == pytest.approx(millions, rel=0.01)


def test_the_nano_preset_fits_its_budget() -> None:
    with torch.device("meta"):
        model = OsumForConditionalGeneration(OsumConfig.preset("nano"))
    assert model.num_parameters() <= 12e6
