"""The tokenizer gives back exactly what it was given, and never melts tags, digits or characters."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from recipes.nano.tokenizer import SPECIAL_TOKENS, train_tokenizer

CORPUS = ["the cat sat on the mat", "i don't know the man", "今天天气很好", "<0.25>新<0.5>", "who is the man"] * 20


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(CORPUS, folder, vocab_size=380, always="哭")
    return AutoTokenizer.from_pretrained(folder)


@settings(deadline=None, max_examples=200)
@given(text=st.text(st.characters(exclude_categories=("Cs",))))
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(deadline=None)
@given(text=st.text("the catmn <>0.5今天新\n"))
def test_texts_like_the_corpus_come_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text


def test_tags_digits_and_characters_stand_alone(tokenizer):
    assert tokenizer.tokenize("the<12.5>今天") == ["the", "<", "1", "2", ".", "5", ">", "今", "天"]


def test_words_carry_their_space(tokenizer):
    assert tokenizer.tokenize("the the man") == ["the", " the", " man"]


def test_special_tokens_have_the_first_ids(tokenizer):
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3]
    assert tokenizer.encode("<|im_end|>") == [2]
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|endoftext|>", "<|pad|>")


def test_a_rare_character_is_bytes_unless_asked_for(tokenizer):
    assert len(tokenizer.encode("哭")) == 1 and len(tokenizer.encode("笑")) == 3


def test_the_vocabulary_has_the_asked_size(tokenizer):
    assert len(tokenizer) == 380
