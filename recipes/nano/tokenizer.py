"""The text tokenizer of `nano`: BPE with byte fallback that gives back exactly what it was given.

`<`, `>`, every digit and every Chinese character are tokens of their own, so tags and times never melt
into words; English pieces carry their leading space.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from osum.text import CJK

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")
"""Their order is their ids."""
_PIECES = rf"<|>|\d|[{CJK}]|\s?[^\s<>\d{CJK}]+|\s"


def train_tokenizer(
    texts: Iterable[str], out: str | Path, vocab_size: int = 5000, min_character_count: int = 5, always: str = ""
) -> Tokenizer:
    """Train on texts and write `tokenizer.json` and `tokenizer_config.json`, loadable by AutoTokenizer.

    Args:
        texts: the training corpus.
        out: folder, made when missing.
        vocab_size: number of ids in all; more only when the characters alone need it.
        min_character_count: a character that is rarer is spelled in bytes.
        always: characters that get an id whatever their count.
    """
    corpus = list(texts)
    counts = Counter(character for text in corpus for character in text)
    alphabet = sorted(
        {c for c, n in counts.items() if n >= min_character_count} | set(always) | set(map(chr, range(32, 127)))
    )
    merges = _merges(corpus, alphabet, vocab_size - len(SPECIAL_TOKENS) - 256)
    pieces = [f"<0x{byte:02X}>" for byte in range(256)] + alphabet + [left + right for left, right in merges]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys([*SPECIAL_TOKENS, *pieces]))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True))
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    _save(tokenizer, Path(out))
    return tokenizer


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")


def _merges(corpus: list[str], alphabet: list[str], size: int) -> list[tuple[str, str]]:
    """Merges that bring the alphabet to `size` pieces, most frequent first."""
    trainer = trainers.BpeTrainer(
        vocab_size=max(size, len(alphabet)),
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = _pre_tokenizer()
    known = set(alphabet)
    learner.train_from_iterator(("".join(c if c in known else " " for c in text) for text in corpus), trainer)
    return [(left, right) for left, right in json.loads(learner.to_str())["model"]["merges"]]


def _save(tokenizer: Tokenizer, out: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    out.mkdir(parents=True, exist_ok=True)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|endoftext|>",
        pad_token="<|pad|>",
        clean_up_tokenization_spaces=False,
    ).save_pretrained(out)
