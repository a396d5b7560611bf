"""Replying: the side of a talk that answers. Begins, gives out, stops, and keeps what was played.

1. A reply is ordered with the conversation up to the turn that it answers. A speculation is ordered before that turn is
   known to be over: its pieces wait, and are given out once it is, or thrown away.
2. What is given out is queued in the playback. The reply is written when its last piece comes, and over when played.
3. Whoever interrupts cuts it: words whose end was not played leave the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from osum.dialogue.history import Entry, SpokenSound, messages_of
from osum.dialogue.news import Abort, Begin, CutOff, PlayedOut, ReplyDone, ReplyStarted, Respond, Said
from osum.dialogue.playback import Playback, played_text
from osum.dialogue.talk import Advance, ReplyUnderway, reply_name
from osum.dialogue.talker import AudioPiece, Piece, Reply, TextPiece
from osum.errors import InputError

USUAL = Respond()
"""A reply as the rules say."""


def order(step: Advance, entries: Sequence[Entry], released: bool, asked: Respond = USUAL) -> None:
    """Have a reply to a conversation generated; `released` gives it out as it comes."""
    rules, number = step.rules, step.talk.replies + 1
    aloud = rules.aloud if asked.aloud is None else asked.aloud
    playback = Playback(at=step.now, paused=step.talk.held)
    instructions = rules.instructions if asked.instructions is None else asked.instructions
    options = rules.reply_options if asked.options is None else asked.options
    answer = ReplyUnderway(number, reply_name(number), asked.remembered, aloud, options=options, playback=playback)
    step.set(replies=number, answer=answer)
    step.give(Begin(number, messages_of(entries, instructions), options))
    if released:
        release(step)


def release(step: Advance) -> None:
    """Give out a reply, with all that has come of it."""
    answer = step.talk.answer
    assert answer is not None and not answer.released
    entries = step.talk.history.entries
    behind = entries[-1].id if entries and answer.remembered else None
    step.set_answer(released=True, waiting=(), behind=behind)
    step.give(ReplyStarted(answer.id, answer.entry, behind, answer.aloud, answer.options))
    for piece in answer.waiting:
        take(step, piece)


def take(step: Advance, piece: Piece) -> None:
    """A piece of the reply has come."""
    answer = step.talk.answer
    assert answer is not None
    if not answer.released:
        step.set_answer(waiting=(*answer.waiting, piece))
        return
    if isinstance(piece, TextPiece):
        step.set_answer(text=answer.text + piece.text)
    elif isinstance(piece, AudioPiece):
        seconds = len(piece.samples) / piece.sampling_rate
        playback = answer.playback.add(seconds, step.now)
        step.set_answer(playback=playback, words=(*answer.words, *piece.words))
    step.give(Said(answer.id, piece))
    if isinstance(piece, Reply):
        step.set_answer(written=True, text=piece.text or answer.text, codes=piece.codes)
        step.give(ReplyDone(answer.id, "completed" if piece.ended else "cut"))
        settle(step)


def settle(step: Advance) -> None:
    """A reply that is written and played is over, and remembered as a whole."""
    answer = step.talk.answer
    if answer is None or not (answer.released and answer.written) or answer.playback.plays(step.now):
        return
    finish(step)
    if answer.playback.queued:
        step.give(PlayedOut(answer.id))


def finish(step: Advance) -> None:
    """Remember a reply that is written as a whole, played or not."""
    answer = step.talk.answer
    assert answer is not None
    _remember(step, answer, Entry(answer.entry, "assistant", answer.text, codes=answer.codes, sound=_sound(answer)))
    step.set(answer=None)


def fail(step: Advance, why: str) -> None:
    """A reply cannot be continued; what was played of it stays."""
    answer = step.talk.answer
    assert answer is not None
    if answer.released:
        stop(step, "failed", why, abort=False)
    else:
        step.set(answer=None)  # its turn has not been taken yet, and is answered anew when it is


def discard(step: Advance) -> None:
    """Throw a speculation away: nothing of it is given out or remembered."""
    answer = step.talk.answer
    if answer is None or answer.released:
        return
    if not any(isinstance(piece, Reply) for piece in answer.waiting):
        step.give(Abort(answer.id))
    step.set(answer=None)


def stop(step: Advance, status: Any, why: str, abort: bool = True) -> None:
    """End a reply here: it is generated no further, and what was not played leaves the history."""
    answer = step.talk.answer
    assert answer is not None and answer.released
    position = answer.playback.position(step.now)
    unheard = answer.playback.plays(step.now) or not answer.written
    whole = Entry(answer.entry, "assistant", answer.text, sound=_sound(answer))
    entry = cut(whole, position) if answer.aloud else replace(whole, status="incomplete")
    if not answer.written:
        step.give(*([Abort(answer.id)] if abort else []), ReplyDone(answer.id, status, why))
    if unheard:
        step.give(CutOff(answer.id, answer.entry, position, entry.text, entry.lost))
    _remember(step, answer, entry)
    step.set(answer=None)


def cut(entry: Entry, position: float) -> Entry:
    """A reply of which only so many seconds were played; what an earlier cut took may come back."""
    text, sound = entry.text + entry.lost, entry.sound
    kept = played_text(text, sound.words, position, sound.seconds if sound.whole else None)
    whole = sound.whole and position >= sound.seconds
    codes = entry.codes if whole else ()
    return replace(entry, text=kept, lost=text[len(kept) :], codes=codes, status="complete" if whole else "incomplete")


def respond(step: Advance, asked: Respond) -> None:
    """Reply now, to what is remembered or to something else.

    Raises:
        InputError: another reply is being generated, or there is nothing to reply to.
    """
    answer = step.talk.answer
    if answer is not None and answer.released and not answer.written:
        raise InputError(f"reply {answer.id} is being generated: cancel it first, or wait for its end")
    entries = step.talk.history.entries if asked.entries is None else asked.entries
    messages = messages_of(entries)
    if not messages or messages[-1]["role"] != "user":
        raise InputError("there is nothing to reply to: the conversation does not end with the user")
    discard(step)
    if step.talk.answer is not None:
        finish(step)
    order(step, entries, released=True, asked=asked)


def truncate(step: Advance, name: str, seconds: float) -> None:
    """The listener says that it has played only so much of a reply.

    Raises:
        InputError: no such reply, or one of the user.
    """
    answer = step.talk.answer
    if answer is not None and answer.entry == name:
        step.set_answer(playback=answer.playback.reported(seconds, step.now))
        stop(step, "cancelled", "asked")
        return
    entry = step.talk.history.get(name)
    if entry.role != "assistant":
        raise InputError(f"entry {name!r} is of the {entry.role}: only a reply can be truncated")
    step.set(history=step.talk.history.swap(cut(entry, seconds)))


def _remember(step: Advance, answer: ReplyUnderway, entry: Entry) -> None:
    if not answer.remembered:
        return
    history = step.talk.history
    known = any(each.id == answer.behind for each in history)
    step.set(history=history.put(entry, answer.behind if known else None))


def _sound(answer: ReplyUnderway) -> SpokenSound:
    return SpokenSound(answer.words, answer.playback.queued, answer.written)


def is_playing(step: Advance) -> bool:
    """Whether a reply has the floor."""
    answer = step.talk.answer
    return answer is not None and answer.released


def pause(step: Advance, paused: bool) -> None:
    """Freeze the playback, or let it continue."""
    answer = step.talk.answer
    if answer is not None:
        playback = answer.playback.pause(step.now) if paused else answer.playback.resume(step.now)
        step.set(answer=replace(answer, playback=playback))
