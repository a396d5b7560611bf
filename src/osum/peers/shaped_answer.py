"""An answer that a language model writes token by token, held to its schema as strict endpoints hold theirs.

1. What is fixed (braces, names, commas) is forced token by token; the model chooses nothing there.
2. A free text ends at the first token with a quotation mark that no backslash escapes.
3. Of a field with known values only tokens that continue one of them may follow.

Example, fields `said` (free) and `mood` (sad or happy): `{"said": "` is forced; `Hi`, ` there` and `."` are free, and
the last of them ends the text; `, "mood": "` is forced; then `sad` or `happy` may follow, and either forces `"}`.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Sequence, Set
from typing import Any

from osum.peers.completion import Schema

_UNTIL_QUOTE = re.compile(r'((?:[^"\\]|\\.)*)"', re.DOTALL)
Encode = Callable[[str], list[int]]
Decode = Callable[[Sequence[int]], str]


class ShapedAnswer:
    """What has been written of one answer, and which tokens may follow.

    Args:
        schema: the fields in their order.
        encode, decode: of the tokenizer, without special tokens.
        quotes: ids of the tokens with a quotation mark.
    """

    def __init__(self, schema: Schema, encode: Encode, decode: Decode, quotes: Set[int]) -> None:
        self._fields, self._encode, self._decode, self._quotes = list(schema.fields.items()), encode, decode, quotes
        self._at = -1
        self._forced: deque[int] = deque()
        self._values: dict[str, Any] = {}
        self._written: list[int] = []
        """Tokens of the field that is being written."""
        self._choices: list[tuple[Any, list[int]]] = []
        self._next("{")

    @property
    def done(self) -> bool:
        """Whether every field is written."""
        return self._at == len(self._fields)

    @property
    def text(self) -> str:
        """The fields that are whole, as JSON."""
        return json.dumps(self._values, ensure_ascii=False)

    def allowed(self) -> list[int] | None:
        """The tokens of which one must follow; None where any may, and none where all is written."""
        if self._forced:
            return [self._forced[0]]
        if self.done:
            return []
        if self._choices:
            return list({rest[0] for _, rest in self._choices})
        return None

    def add(self, token: int) -> None:
        """One more token, of those that were allowed."""
        if self._forced:
            self._forced.popleft()
        elif self._choices:
            self._choices = [(value, rest[1:]) for value, rest in self._choices if rest[0] == token]
            whole = next((value for value, rest in self._choices if not rest), None)
            if whole is not None:
                self._end(whole, "")
        else:
            self._written.append(token)
            if token in self._quotes and (found := _UNTIL_QUOTE.match(self._decode(self._written))):
                self._end(_unescaped(found[1]), self._close)

    @property
    def _close(self) -> str:
        return "}" if self._at == len(self._fields) - 1 else ","

    def _end(self, value: Any, more: str) -> None:
        """The field is whole; `more` is forced before the next."""
        self._values[self._fields[self._at][0]] = value
        self._next(more)

    def _next(self, before: str) -> None:
        self._at, self._written, self._choices = self._at + 1, [], []
        if self.done:
            self._forced = deque(self._encode(before) if before else ())
            return
        name, known = self._fields[self._at]
        text = known is None or isinstance(known[0], str)
        space = "" if before == "{" else " "
        self._forced = deque(self._encode(f"{before}{space}{json.dumps(name)}: " + ('"' if text else "")))
        mark = '"' if text else ""
        self._choices = [(value, self._encode(f"{value}{mark}{self._close}")) for value in known or ()]


def _unescaped(text: str) -> str:
    """What a JSON string stands for; as it is where it is none."""
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text
