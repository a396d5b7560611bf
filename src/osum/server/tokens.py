"""The bytes of a token, whatever the kind of its tokenizer."""

from __future__ import annotations

import re
from collections.abc import Callable

from transformers.convert_slow_tokenizer import bytes_to_unicode

from osum.listening.recognizer import Recognizer

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def speller(model: Recognizer) -> Callable[[int], bytes]:
    """From an id of a model's tokenizer to its bytes; a character may be of several tokens."""
    tokenizer = model.engine.processor.tokenizer
    decoder = repr(getattr(tokenizer.backend_tokenizer, "decoder", ""))
    bytes_of = {letter: number for number, letter in bytes_to_unicode().items()} if "ByteLevel" in decoder else {}

    def spell(token: int) -> bytes:
        said = tokenizer.convert_ids_to_tokens(token)
        if single := _BYTE.fullmatch(said):
            return bytes([int(single[1], 16)])
        if bytes_of and all(letter in bytes_of for letter in said):
            return bytes(bytes_of[letter] for letter in said)
        return str(said).encode()

    return spell
