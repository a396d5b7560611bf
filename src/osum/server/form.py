"""Fields: what a multipart form says, each value checked; lists under `x` and `x[]` alike."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from osum.server.faults import bad
from osum.text import did_you_mean

MAX_TEXT = 4 * 2**20
"""Bytes of one text of a form; references of speakers are data URLs of some seconds."""
MAX_FIELDS = 200


class Fields:
    """The fields of a form."""

    def __init__(self, form: FormData) -> None:
        self._form = form

    @classmethod
    async def of(cls, request: Request) -> Fields:
        """Read a form. The caller closes the request's form when done.

        Raises:
            ApiError: the body is no form.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
            raise bad(f"the body is {kind[:60] or 'of no type'!r}: send multipart/form-data with the part 'file'")
        form = await request.form(max_files=8, max_fields=MAX_FIELDS, max_part_size=MAX_TEXT)
        return cls(form)

    def all(self, name: str) -> list[str]:
        """Every text of a list, in its order."""
        return [
            value for key, value in self._form.multi_items() if key in (name, f"{name}[]") and isinstance(value, str)
        ]

    def text(self, name: str) -> str | None:
        """The one text of a field; None where it is not given or empty.

        Raises:
            ApiError: it is given twice, or as a file.
        """
        given = [value for key, value in self._form.multi_items() if key == name]
        if len(given) > 1:
            raise bad(f"{name!r} is given {len(given)} times: give it once", name)
        if given and not isinstance(given[0], str):
            raise bad(f"{name!r} is a file: send it as a text", name)
        return str(given[0]) if given and given[0] else None

    def one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        """A field that takes some words."""
        return checked(self.text(name) or default, name, allowed)

    def some_of(self, name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
        """A list that takes some words."""
        return tuple(checked(value, name, allowed) for value in self.all(name))

    def flag(self, name: str) -> bool:
        """`true` or `false`; false where it is not given."""
        return checked((self.text(name) or "false").lower(), name, ("true", "false", "1", "0")) in ("true", "1")

    def number(self, name: str, low: float, high: float, default: float) -> float:
        """A number within bounds, both included."""
        given = self.text(name)
        try:
            value = default if given is None else float(given)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise bad(f"{name} is {(given or '')[:40]!r}: it must be a number from {low:g} to {high:g}", name)
        return value

    def record(self, name: str) -> Mapping[str, Any] | str | None:
        """`name=word`, `name={...}` as JSON, or `name[key]=value` with its keys."""
        given = self.text(name)
        parts = {
            key[len(name) + 1 : -1]: value for key, value in self._form.multi_items() if key.startswith(f"{name}[")
        }
        if parts:
            return parts
        if given is None or not given.lstrip().startswith("{"):
            return given
        try:
            found = json.loads(given)
        except (ValueError, RecursionError):
            raise bad(f"{name} is no JSON object: {given[:40]!r}", name) from None
        return found if isinstance(found, dict) else given

    def upload(self, name: str = "file") -> UploadFile:
        """The one file of a field.

        Raises:
            ApiError: none is given, several are, or one without bytes.
        """
        given = [value for key, value in self._form.multi_items() if key == name]
        if len(given) != 1 or not isinstance(given[0], UploadFile):
            count = "a text" if given and not isinstance(given[0], UploadFile) else f"{len(given)} files"
            raise bad(f"{count} in {name!r}: send one recording as a file", name, "missing_required_parameter")
        if not given[0].size:
            raise bad(f"the file of {name!r} is empty: send a recording", name)
        return given[0]

    async def close(self) -> None:
        """Drop the files."""
        await self._form.close()


def save(upload: UploadFile, place: Path) -> Path:
    """Write an upload to a file, without its name: decoders look at the content alone."""
    upload.file.seek(0)
    with place.open("wb") as file:
        shutil.copyfileobj(upload.file, file)
    return place


def checked(value: str, name: str, allowed: tuple[str, ...]) -> str:
    """A word, if it is one of those allowed.

    Raises:
        ApiError: it is none of them.
    """
    if value not in allowed:
        hint = did_you_mean(value.lower(), allowed)
        raise bad(f"{name} is {value[:40]!r}: {hint}use one of {', '.join(allowed)}", name, "invalid_value")
    return value
