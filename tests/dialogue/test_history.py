"""What is remembered of a talk, and what a model is given of it."""

from __future__ import annotations

import numpy as np
import pytest

from osum.dialogue.history import MAX_ENTRIES, MAX_SOUNDS, Entry, History, messages_of
from osum.errors import InputError

SOUND = np.ones(3, np.float32)


def history(*entries: Entry) -> History:
    whole = History()
    for entry in entries:
        whole = whole.put(entry)
    return whole


def test_sides_take_turns_whatever_was_said() -> None:
    entries = history(
        Entry("1", "assistant", "welcome"),
        Entry("2", "user", "one"),
        Entry("3", "user", samples=SOUND),
        Entry("4", "assistant", "", lost="never played"),
        Entry("5", "system", "be kind"),
        Entry("6", "user", "three"),
        Entry("7", "assistant", "four", codes=(1, 2)),
        Entry("8", "user", "five", samples=SOUND, earlier="before that"),
    )
    system, first, reply, last = messages_of(entries, "be short")
    assert system == {"role": "system", "content": "be short\nbe kind"}
    assert [part["type"] for part in first["content"]] == ["text", "audio", "text"]
    assert reply["content"] == [{"type": "text", "text": "four"}, {"type": "speech", "codes": [1, 2]}]
    assert [part.get("text") for part in last["content"]] == ["before that", None]


def test_entries_stand_where_they_are_put() -> None:
    whole = history(Entry("1", "user", "a"), Entry("2", "user", "c")).put(Entry("3", "user", "b"), behind="1")
    assert [entry.id for entry in whole.put(Entry("0", "user"), first=True)] == ["0", "1", "3", "2"]
    assert whole.before("3") == "1" and whole.before("1") is None


def test_what_is_not_there_or_there_twice_is_refused() -> None:
    whole = history(Entry("1", "user", "a"))
    with pytest.raises(InputError, match="is there already"):
        whole.put(Entry("1", "user"))
    for attempt in (lambda: whole.put(Entry("2", "user"), "x"), lambda: whole.get("x"), lambda: whole.remove("x")):
        with pytest.raises(InputError, match="no entry 'x'"):
            attempt()


def test_old_entries_and_old_sound_are_forgotten() -> None:
    whole = history(*(Entry(str(at), "user", f"text {at}", samples=SOUND) for at in range(MAX_ENTRIES + 30)))
    assert len(whole) == MAX_ENTRIES and whole.entries[0].id == "30"
    assert sum(entry.samples is not None for entry in whole) == MAX_SOUNDS
    assert whole.entries[-1].samples is not None
