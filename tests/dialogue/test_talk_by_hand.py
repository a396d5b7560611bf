"""A spoken conversation that is held, resumed, edited and taken by hand, scripted with exact times."""

from __future__ import annotations

import pytest

from dialogue.rehearsal import STEP, Rehearsal, replying
from osum.audio import SAMPLE_RATE
from osum.dialogue.history import Entry
from osum.dialogue.news import (
    Cancel,
    Clear,
    Commit,
    CutOff,
    HoldTalk,
    PlayedOut,
    Put,
    Remove,
    Respond,
    ResumeTalk,
    SpeechStarted,
    Truncate,
    TurnTaken,
)
from osum.dialogue.talk import TalkRules
from osum.dialogue.talker import TextPiece
from osum.errors import InputError

# Hold and resume


def test_on_hold_nothing_is_recorded_and_nothing_plays():
    talk = replying()
    played = talk.talk.answer.playback.position(talk.now)
    talk.tell(HoldTalk()).say(20.0)
    assert talk.talk.answer.playback.position(talk.now) == pytest.approx(played)
    assert len(talk.all(TurnTaken)) == 1
    talk.tell(ResumeTalk()).hear(4.5)
    assert talk.when(PlayedOut) == pytest.approx(3.0 + 20.0 + 4.0 - played, abs=0.1)


def test_a_turn_that_is_put_on_hold_continues_behind_it():
    talk = Rehearsal().hear(1.0).say(1.0).tell(HoldTalk()).hear(9.0).tell(ResumeTalk()).say(1.0).hear(1.0)
    (taken,) = talk.all(TurnTaken)
    assert len(taken.entry.samples) / SAMPLE_RATE == pytest.approx(0.3 + 2.0 + 0.2, abs=2 * STEP)


# Push to talk, text and edits

BY_HAND = TalkRules(takes_turns=False)


def test_push_to_talk_takes_what_was_recorded_and_answers_when_asked():
    talk = Rehearsal(rules=BY_HAND).hear(0.5).say(1.0).tell(Commit())
    assert len(talk.all(TurnTaken)) == 1 and not talk.orders
    talk.tell(Respond()).hear(1.0)
    assert len(talk.orders) == 1 and not talk.all(SpeechStarted)


def test_nothing_cannot_be_committed():
    with pytest.raises(InputError, match="nothing was recorded"):
        Rehearsal(rules=BY_HAND).tell(Commit())


def test_what_is_cleared_is_forgotten():
    talk = Rehearsal(rules=BY_HAND).say(1.0).tell(Clear())
    with pytest.raises(InputError, match="nothing was recorded"):
        talk.tell(Commit())


def test_a_second_reply_is_refused_while_one_is_generated():
    talk = Rehearsal(rules=BY_HAND).say(1.0).tell(Commit()).tell(Respond())
    with pytest.raises(InputError, match="reply 1 is being generated"):
        talk.tell(Respond())


def test_a_reply_can_be_cancelled_and_only_then():
    talk = replying().tell(Cancel())
    assert talk.all(CutOff)[0].kept == ""
    with pytest.raises(InputError, match="nothing to cancel"):
        talk.tell(Cancel())


def test_a_reply_outside_the_conversation_is_not_remembered():
    talk = Rehearsal(rules=BY_HAND)
    talk.tell(Respond(entries=(Entry("x", "user", "hello"),), remembered=False)).hear(4.0)
    assert talk.orders[0].messages == [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    assert talk.remembered == []


def test_entries_are_put_and_removed():
    talk = Rehearsal(rules=BY_HAND).tell(Put(Entry("a", "user", "one"))).tell(Put(Entry("b", "system", "be kind")))
    talk.tell(Put(Entry("c", "user", "zero"), first=True)).tell(Remove("a")).tell(Respond())
    assert talk.orders[0].messages == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "zero"}]},
    ]
    with pytest.raises(InputError, match="no entry 'a'"):
        talk.tell(Remove("a"))


def test_a_reply_that_is_only_read_is_kept_as_far_as_it_is_written():
    rules = TalkRules(takes_turns=False, aloud=False)
    talk = Rehearsal(rules=rules, replies=[[(0.1, TextPiece("one two"))]]).tell(Put(Entry("a", "user", "hi")))
    talk.tell(Respond()).hear(1.0).tell(Cancel())
    assert talk.remembered[-1] == ("assistant", "one two")


def test_the_listener_knows_best_how_much_was_played():
    talk = replying().hear(5.0)
    talk.tell(Truncate("reply_1", 1.1))
    assert talk.remembered[1] == ("assistant", "one two")
    talk.tell(Truncate("reply_1", 2.6))  # more of it was played after all
    assert talk.remembered[1] == ("assistant", "one two three four five")
    with pytest.raises(InputError, match="only a reply"):
        talk.tell(Truncate("turn_1", 1.0))


def test_truncating_a_reply_that_plays_stops_it():
    talk = replying().tell(Truncate("reply_1", 0.6))
    assert talk.all(CutOff)[0].kept == "one" and talk.talk.answer is None
