"""A language model of a folder: tiny random weights, whose answers are read as those of an endpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from osum.errors import CheckpointError, EndpointError
from osum.peers.completion import Completion, CompletionRequest, Schema
from osum.peers.local_language_model import LocalLanguageModel

WORDS = ("<pad>", "<end>", "<user>", '{"answer":', '"', 'yes"}', 'no"}', 'maybe"}', "is", "it", "raining", "?")
YES_OR_NO = Schema("answer", {"answer": ("yes", "no")})
TEMPLATE = "{% for message in messages %}{{ message.content }} {% endfor %}<user>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 of eleven words that begins an object, ends it by yes or no, each as likely, and stops."""
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")
    fast.chat_template = TEMPLATE
    config = Qwen2Config(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, eos_token_id=1, pad_token_id=0, bos_token_id=None, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        for layer in model.model.layers:  # the word alone decides what follows
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(len(WORDS), 16))
        model.lm_head.weight.zero_()
        for word, following in ((2, 3), (3, 4), (4, 5), (4, 6), (5, 1), (6, 1)):
            model.lm_head.weight[following, word] = 10.0
    path = tmp_path_factory.mktemp("model") / "little"
    model.save_pretrained(path)
    fast.save_pretrained(path)
    return path


def request(text: str, **changes: object) -> CompletionRequest:
    asked = CompletionRequest("little", [{"role": "user", "content": text}], YES_OR_NO, 1.0, 8)
    return replace(asked, **changes)  # type: ignore[arg-type]


def values(found: list[Completion | EndpointError]) -> list[object]:
    return [dict(one.values) if isinstance(one, Completion) else str(one) for one in found]


def test_an_answer_depends_on_its_request_alone(folder: Path) -> None:
    asked = [request(f"is it{' raining' * (at % 3)}", seed=at) for at in range(12)]
    together = values(LocalLanguageModel(folder, batch_size=5).ask(asked))
    model = LocalLanguageModel(folder, batch_size=1)
    assert together == [values(model.ask([one]))[0] for one in asked]
    assert {str(one) for one in together} == {"{'answer': 'yes'}", "{'answer': 'no'}"}


def test_without_temperature_the_likeliest_is_taken_and_tokens_are_counted(folder: Path) -> None:
    first, second = LocalLanguageModel(folder).ask([request("is it", temperature=0.0, seed=seed) for seed in (1, 2)])
    assert isinstance(first, Completion) and isinstance(second, Completion) and first.values == second.values
    assert (first.prompt_tokens, first.completion_tokens, first.served_by) == (3, 3, "little")


def test_an_answer_is_held_to_its_schema_and_one_that_is_cut_off_is_given_up(folder: Path) -> None:
    model = LocalLanguageModel(folder)
    maybe = Schema("answer", {"answer": ("maybe",)})  # which the model alone would never say
    assert values(model.ask([request("is it", schema=maybe)])) == [{"answer": "maybe"}]
    (fault,) = values(model.ask([request("is it", max_tokens=1)]))
    assert str(fault).startswith("answers out of schema (3 of them)") and "cut off: allow more tokens" in str(fault)


def test_without_a_schema_the_model_says_what_it_likes(folder: Path) -> None:
    (found,) = LocalLanguageModel(folder).ask([request("is it", schema=None, temperature=0.0)])
    assert isinstance(found, Completion) and found.text in ('{"answer": " yes"}', '{"answer": " no"}')


def test_a_folder_that_is_no_chat_model_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be opened as a language model"):
        LocalLanguageModel(tmp_path)
    plain = tmp_path / "plain"
    Qwen2ForCausalLM.from_pretrained(folder).save_pretrained(plain)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(plain)
    with pytest.raises(CheckpointError, match="no chat template"):
        LocalLanguageModel(plain)
