"""Taking turns: `advance` takes a talk, news and the time, and returns the talk after it and what comes out.

1. Frames with speech begin a turn of the user. In silence the user is given the floor at once; over a reply only once
   the policy has said that this interrupts, so that a `mm-hm` stops nothing.
2. In a pause the policy is asked. `complete` takes the turn and answers; `incomplete` waits for the rest, which joins;
   `backchannel`, `wait` and `noise` drop it. Speech makes every question and speculation about the pause void.
3. What interrupts stops the reply at once: it is generated no further, and what was not played is forgotten.

Worked example, a policy asked after 0.2 s of silence: speech 0.0-1.0 s, `complete` comes at 1.25 s, the reply is
ordered and plays from 1.5 s. Speech from 2.0 s; at 2.35 s the policy is asked, at 2.4 s it says `complete`: the reply
stops at 2.4 s with 0.9 s played, and the user has had the floor since 2.0 s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from osum.audio import SAMPLE_RATE
from osum.dialogue import hearing, replying
from osum.dialogue.hearing import Frame, cut_into, frames_of
from osum.dialogue.news import (
    Broke,
    Came,
    Cancel,
    Clear,
    Commit,
    HoldTalk,
    Judge,
    Judged,
    News,
    Noted,
    Output,
    Part,
    Paused,
    Played,
    Put,
    Remove,
    Respond,
    Resumed,
    ResumeTalk,
    Sound,
    SpeechStarted,
    SpeechStopped,
    Tick,
    Transcribed,
    Truncate,
    TurnDropped,
    TurnTaken,
)
from osum.dialogue.talk import Advance, PolicyQuestion, Samples, Talk, UserTurn, entry_of, turn_name
from osum.dialogue.turn_policy import Evidence, Judgement
from osum.errors import InputError
from osum.listening.vad import FRAME, Detector

TAIL = 0.2
"""Seconds of silence behind the last speech that stay with a turn: words fade."""


def advance(talk: Talk, news: News, now: float, detector: Detector[Any]) -> tuple[Talk, tuple[Output, ...]]:
    """The talk after some news at a time of its clock, and what comes out, in order.

    Raises:
        InputError: news that cannot be followed, such as a commit of nothing. The talk that was given still holds.
    """
    step = Advance(talk, now)
    if isinstance(news, Sound):
        _sound(step, news, detector)
    else:
        _HANDLERS[type(news)](step, news)
    _time(step)
    return step.talk, tuple(step.out)


# Sound


def _sound(step: Advance, sound: Sound, detector: Detector[Any]) -> None:
    """Frame by frame, so that the size of the blocks changes nothing."""
    if step.talk.held:
        return
    for at, samples in enumerate(cut_into(sound.samples, FRAME)):
        reference = None if sound.reference is None else sound.reference[at * FRAME : (at + 1) * FRAME]
        rules = step.rules.hearing.over_reply() if replying.is_playing(step) else step.rules.hearing
        frames, state = hearing.listen(step.talk.hearing, samples, reference, detector, rules)
        step.set(hearing=state)
        for frame in frames:
            step.set(clock=step.talk.clock + FRAME)
            _frame(step, frame)
            _time(step)


def _frame(step: Advance, frame: Frame) -> None:
    if not step.rules.takes_turns:
        _record(step, frame)
    elif step.talk.user is None:
        _before_turn(step, frame)
    else:
        _in_turn(step, frame)


def _before_turn(step: Advance, frame: Frame) -> None:
    """Nobody speaks, or has just begun."""
    talk, rules = step.talk, step.rules
    needed = frames_of(rules.min_speech)
    kept = frames_of(rules.padding) + needed
    before = (*talk.before, frame.samples)[-kept:]
    onset = talk.onset + 1 if frame.speech else 0
    if onset < needed:
        step.set(before=before, onset=onset)
        return
    start = talk.clock - len(before) * FRAME
    over = replying.is_playing(step)
    turn = UserTurn(
        talk.turns + 1, start, before, (frame.probability,) * len(before), talk.clock, needed * FRAME, over_reply=over
    )
    step.set(user=turn, turns=turn.id, before=(), onset=0)
    if not over:
        _announce(step)


def _in_turn(step: Advance, frame: Frame) -> None:
    """The user speaks, or pauses."""
    turn = step.talk.user
    assert turn is not None
    step.set_user(frames=(*turn.frames, frame.samples), probabilities=(*turn.probabilities, frame.probability))
    if frame.speech:
        step.set_user(end=step.talk.clock, speech=turn.speech + FRAME, question=_unpaused(turn), judged=None)
        if turn.announced:
            replying.discard(step)
            step.set(hearing=hearing.learn_voice(step.talk.hearing))
    _give_part(step)
    if turn.over_reply and not turn.announced:
        _over_reply(step)
    elif not frame.speech:
        _pause(step)


def _unpaused(turn: UserTurn) -> PolicyQuestion | None:
    """A question about a pause that has ended is void."""
    return None if turn.question is None or turn.question.paused else turn.question


def _over_reply(step: Advance) -> None:
    """Speech over a reply: the policy says whether it interrupts, in the middle of it or when it has ended."""
    turn, rules = step.talk.user, step.rules
    assert turn is not None
    silence = (step.talk.clock - turn.end) / SAMPLE_RATE
    if turn.question is not None:
        return
    if not replying.is_playing(step):  # it has been played out meanwhile
        _announce(step)
    elif silence >= rules.judge_after:
        _ask(step, paused=True)
    elif (turn.speech - turn.asked_speech) / SAMPLE_RATE >= (
        rules.judge_again if turn.asked_speech else rules.judge_over_reply
    ):
        _ask(step, paused=False)


def _pause(step: Advance) -> None:
    """The user who has the floor is silent."""
    turn, rules = step.talk.user, step.rules
    assert turn is not None
    silence = (step.talk.clock - turn.end) / SAMPLE_RATE
    early = rules.speculate_after
    if early is not None and silence >= early and rules.replies and step.talk.answer is None and turn.judged is None:
        _speculate(step)
    if turn.judged is None and turn.question is None and silence >= rules.judge_after:
        _ask(step, paused=True)
    elif turn.judged is not None and silence >= turn.judged.wait:
        _take(step, turn.judged)


def _speculate(step: Advance) -> None:
    turn = step.talk.user
    assert turn is not None
    replying.order(step, (*step.talk.history, entry_of(turn, _samples(turn))), released=False)


def _ask(step: Advance, paused: bool) -> None:
    turn = step.talk.user
    assert turn is not None
    number = step.talk.questions + 1
    step.set(questions=number)
    step.set_user(question=PolicyQuestion(number, step.now, paused), asked_speech=turn.speech)
    over = turn.over_reply and not turn.announced
    step.give(Judge(number, Evidence(_samples(turn), turn.speech / SAMPLE_RATE, paused, over)))


# What the policy says


def _judged(step: Advance, news: Judged) -> None:
    turn = step.talk.user
    if turn is None or turn.question is None or turn.question.id != news.question:
        return  # about a pause that has ended, or a turn that is gone
    _follow(step, news.judgement or Judgement("complete"))


def _follow(step: Advance, judgement: Judgement) -> None:
    turn = step.talk.user
    assert turn is not None and turn.question is not None
    paused = turn.question.paused
    step.set_user(question=None)
    verdict = judgement.verdict
    waits = turn.over_reply and not turn.announced
    if verdict in ("backchannel", "noise") and waits and not paused:
        return  # it speaks on, and is asked about again
    if verdict in ("backchannel", "noise", "wait"):
        if waits and verdict == "wait":
            _interrupt(step)
        _drop(step, verdict)
        return
    if waits:
        _interrupt(step)
    if not paused:
        return
    step.set_user(judged=judgement)
    _pause(step)


def _interrupt(step: Advance) -> None:
    """The user takes the floor from a reply."""
    if step.rules.interrupts and replying.is_playing(step):
        replying.stop(step, "cancelled", "turn")
    _announce(step)


def _announce(step: Advance) -> None:
    turn = step.talk.user
    assert turn is not None
    step.set_user(announced=True)
    step.give(SpeechStarted(turn.id, turn.start / SAMPLE_RATE))


def _take(step: Advance, judgement: Judgement | None) -> None:
    """The turn is over and becomes part of the history; it is answered where the rules say so."""
    turn = step.talk.user
    assert turn is not None
    samples = _samples(turn)
    entry = replace(entry_of(turn, samples), text=judgement.text if judgement else "")
    history = step.talk.history
    behind = history.entries[-1].id if len(history) else None
    step.set(user=None, before=turn.frames[-frames_of(step.rules.padding) :], history=history.put(entry))
    if turn.announced:
        step.give(SpeechStopped(turn.id, turn.end / SAMPLE_RATE))
    step.give(TurnTaken(turn.id, entry, behind, judgement), Part(turn.id, turn.parts + 1, samples, last=True))
    if not (step.rules.replies and step.rules.takes_turns):
        replying.discard(step)
    elif step.talk.answer is None:
        replying.order(step, step.talk.history.entries, released=True)
    elif replying.is_playing(step):  # it was not to be interrupted
        step.set(owed=True)
    else:
        replying.release(step)


def _drop(step: Advance, why: Any) -> None:
    """What was recorded is no turn."""
    turn = step.talk.user
    assert turn is not None
    replying.discard(step)
    step.set(user=None, before=turn.frames[-frames_of(step.rules.padding) :], onset=0)
    if turn.announced:
        step.give(SpeechStopped(turn.id, turn.end / SAMPLE_RATE))
    step.give(TurnDropped(turn.id, why, turn.announced))


# Parts of long turns


def _give_part(step: Advance) -> None:
    """A turn that is too long to be kept is cut where speech is least likely in its last third, and given away."""
    turn = step.talk.user
    assert turn is not None
    limit = frames_of(step.rules.max_sound)
    if len(turn.frames) < limit:
        return
    late = np.asarray(turn.probabilities[limit * 2 // 3 :])
    at = limit * 2 // 3 + len(late) - int(np.argmin(late[::-1]))  # behind the last of the quietest
    part = turn.parts + 1
    step.set_user(
        frames=turn.frames[at:], probabilities=turn.probabilities[at:], parts=part, start=turn.start + at * FRAME
    )
    step.give(Part(turn.id, part, np.concatenate(turn.frames[:at]), last=False))


def _noted(step: Advance, news: Noted) -> None:
    """What was said in a part: of a turn that still lasts, or of one that is remembered."""
    turn, name, history = step.talk.user, turn_name(news.turn), step.talk.history
    whole = news.text or ""
    if turn is not None and turn.id == news.turn and news.text:
        step.set_user(texts=(*turn.texts, (news.part, news.text)))
    entry = next((entry for entry in history if entry.id == name), None)
    if entry is not None and news.text:
        whole = " ".join(filter(None, (entry.earlier, news.text)))
        entry = replace(entry, text=whole) if news.last else replace(entry, earlier=whole)
        step.set(history=history.swap(entry))
    step.give(Transcribed(news.turn, name, news.part, news.last, news.text, news.found, whole))


def _samples(turn: UserTurn) -> Samples:
    """The sound of a turn to a little behind its last speech."""
    size = min(len(turn.frames), -(-(turn.end - turn.start) // FRAME) + frames_of(TAIL))
    return np.concatenate(turn.frames[: max(1, size)])


# Push to talk, and what else is asked for


def _record(step: Advance, frame: Frame) -> None:
    """Without turns of its own the talk keeps all it is given until a message ends the turn."""
    turn = step.talk.user
    if turn is None:
        turn = UserTurn(step.talk.turns + 1, step.talk.clock - FRAME, (), (), step.talk.clock, 0, announced=False)
        step.set(user=turn, turns=turn.id)
    frames, odds = (*turn.frames, frame.samples), (*turn.probabilities, frame.probability)
    step.set_user(frames=frames, probabilities=odds, end=step.talk.clock, speech=turn.speech + FRAME * frame.speech)
    _give_part(step)


def _commit(step: Advance, news: Commit) -> None:  # noqa: ARG001
    turn = step.talk.user
    if turn is None or not turn.frames:
        raise InputError("nothing was recorded since the last turn: send sound before it is committed")
    _take(step, None)


def _clear(step: Advance, news: Clear) -> None:  # noqa: ARG001
    step.set(before=(), onset=0)
    if step.talk.user is not None:
        _drop(step, "cleared")
        step.set(before=())


def _respond(step: Advance, news: Respond) -> None:
    replying.respond(step, news)


def _cancel(step: Advance, news: Cancel) -> None:  # noqa: ARG001
    if not replying.is_playing(step):
        raise InputError("no reply is being given: there is nothing to cancel")
    replying.stop(step, "cancelled", "asked")


def _hold(step: Advance, news: HoldTalk) -> None:  # noqa: ARG001
    if not step.talk.held:
        replying.pause(step, paused=True)
        step.set(held=True)
        step.give(Paused())


def _resume(step: Advance, news: ResumeTalk) -> None:  # noqa: ARG001
    if step.talk.held:
        step.set(held=False)
        replying.pause(step, paused=False)
        step.give(Resumed())


def _put(step: Advance, news: Put) -> None:
    step.set(history=step.talk.history.put(news.entry, news.behind, news.first))


def _remove(step: Advance, news: Remove) -> None:
    step.set(history=step.talk.history.remove(news.entry))


def _truncate(step: Advance, news: Truncate) -> None:
    replying.truncate(step, news.entry, news.seconds)


def _came(step: Advance, news: Came) -> None:
    if step.talk.answer is not None and step.talk.answer.id == news.reply:
        replying.take(step, news.piece)


def _broke(step: Advance, news: Broke) -> None:
    if step.talk.answer is not None and step.talk.answer.id == news.reply:
        replying.fail(step, news.why)


def _played(step: Advance, news: Played) -> None:
    answer = step.talk.answer
    if answer is not None and answer.id == news.reply and answer.released:
        step.set_answer(playback=answer.playback.reported(news.seconds, step.now))


def _time(step: Advance) -> None:
    """What the clock brings: a policy that does not answer, a reply that has been played."""
    turn = step.talk.user
    question = turn.question if turn is not None and not step.talk.held else None
    if question is not None and step.now - question.asked_at >= step.rules.judge_timeout:
        _follow(step, Judgement("complete"))
    replying.settle(step)
    if step.talk.owed and step.talk.answer is None:
        step.set(owed=False)
        replying.order(step, step.talk.history.entries, released=True)


_HANDLERS: dict[type, Callable[[Advance, Any], None]] = {
    Judged: _judged,
    Came: _came,
    Broke: _broke,
    Noted: _noted,
    Played: _played,
    Commit: _commit,
    Clear: _clear,
    Respond: _respond,
    Cancel: _cancel,
    HoldTalk: _hold,
    ResumeTalk: _resume,
    Put: _put,
    Remove: _remove,
    Truncate: _truncate,
    Tick: lambda step, news: None,  # noqa: ARG005
}
