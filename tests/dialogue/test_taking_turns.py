"""Turns of a spoken conversation, scripted with exact times. A frame is 32 ms, so times are exact to a frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialogue.rehearsal import LONG, LOUD, RATE, SOFT, STEP, Rehearsal, replying, sound, spoken
from osum.audio import SAMPLE_RATE
from osum.dialogue.news import (
    Abort,
    Begin,
    Broke,
    CutOff,
    Judge,
    Judged,
    Part,
    PlayedOut,
    ReplyDone,
    ReplyStarted,
    Said,
    Sound,
    SpeechStarted,
    SpeechStopped,
    TurnDropped,
    TurnTaken,
)
from osum.dialogue.talk import TalkRules
from osum.dialogue.talker import AudioPiece, Reply, TextPiece, ThoughtPiece
from osum.errors import InputError
from osum.listening.vad import FRAME

# Turns and replies


def test_a_turn_is_taken_and_answered_when_the_policy_says_that_it_is_complete():
    talk = replying()
    assert talk.kinds() == ["SpeechStarted", "SpeechStopped", "TurnTaken", "ReplyStarted", "Transcribed"] + [
        "Said"
    ] * 6 + ["ReplyDone"]
    assert talk.when(SpeechStarted) == pytest.approx(1.1, abs=STEP)
    assert talk.when(Judge) == pytest.approx(2.2, abs=STEP)
    assert talk.when(TurnTaken) == pytest.approx(talk.when(Judge) + talk.judging, abs=STEP)
    assert talk.when(ReplyStarted) == talk.when(TurnTaken) == talk.when(Begin)


def test_the_places_of_a_turn_are_those_of_its_sound():
    talk = replying()
    (started,), (stopped,), (taken,) = talk.all(SpeechStarted), talk.all(SpeechStopped), talk.all(TurnTaken)
    assert started.at == pytest.approx(0.7, abs=2 * STEP)  # 0.3 s of padding before it
    assert stopped.at == pytest.approx(2.0, abs=STEP)
    length = len(taken.entry.samples) / SAMPLE_RATE
    assert length == pytest.approx(stopped.at - started.at + 0.2, abs=2 * STEP)


def test_the_model_is_given_the_sound_of_the_turn():
    (order,) = replying().orders
    (message,) = order.messages
    assert message["role"] == "user" and message["content"][0]["type"] == "audio"
    assert np.abs(message["content"][0]["audio"]).max() == pytest.approx(LOUD, abs=0.01)


def test_a_reply_that_is_played_out_is_remembered_whole():
    talk = replying().hear(5.0)
    assert talk.remembered[1] == ("assistant", "one two three four five six seven eight")
    assert talk.when(PlayedOut) == pytest.approx(talk.when(ReplyStarted) + 0.3 + 4.0, abs=STEP)


def test_a_policy_that_does_not_answer_costs_its_timeout_and_no_more():
    talk = Rehearsal(verdicts=[None]).hear(1.0).say(1.0).hear(1.0)
    assert talk.when(TurnTaken) == pytest.approx(talk.when(Judge) + 0.5, abs=STEP)


def test_a_policy_that_fails_counts_as_complete():
    talk = Rehearsal(verdicts=[None]).hear(1.0).say(1.0).hear(0.3)
    talk.tell(Judged(talk.all(Judge)[0].question, None))
    assert len(talk.all(TurnTaken)) == 1


# The user starts during a reply


def test_an_interruption_stops_the_output_in_the_moment_of_the_decision():
    talk = replying().say(0.6)
    decided = talk.when(Judge, 1) + talk.judging
    assert talk.when(CutOff) == pytest.approx(decided, abs=1e-3)
    assert talk.when(CutOff) - 3.0 <= 0.6 and talk.when(SpeechStarted, 1) == talk.when(CutOff)
    assert talk.kinds()[-2:] == ["CutOff", "SpeechStarted"]


def test_nothing_of_a_reply_comes_out_behind_its_interruption():
    slow = [(0.3 + at, AudioPiece(np.ones(1000, np.float32), RATE)) for at in range(4)]
    talk = Rehearsal(replies=[[(0.1, TextPiece("a b c d")), *slow, (4.0, Reply("a b c d"))]])
    talk.hear(1.0).say(1.0).hear(1.0).say(1.5).hear(4.0)
    stopped = talk.when(CutOff)
    assert talk.all(Abort) == [Abort(1)] and talk.all(ReplyDone)[0] == ReplyDone(1, "cancelled", "turn")
    assert not [at for at, out in talk.log if isinstance(out, Said) and out.reply == 1 and at > stopped]


def test_words_that_were_not_played_leave_the_history():
    talk = replying().say(0.6)
    (cut,) = talk.all(CutOff)
    played = int(cut.seconds / 0.5)  # a word lasts half a second
    assert played == 1
    assert (cut.kept, cut.lost) == ("one", " two three four five six seven eight")
    talk.hear(1.0)
    assert talk.remembered == [("user", "part1"), ("assistant", "one"), ("user", "part1")]
    assert [message["role"] for message in talk.orders[1].messages] == ["user", "assistant", "user"]
    assert talk.orders[1].messages[1]["content"] == [{"type": "text", "text": "one"}]


def test_an_interruption_in_the_last_word_cuts_that_word():
    talk = replying().hear(2.75).say(0.6)
    (cut,) = talk.all(CutOff)
    assert 3.5 < cut.seconds < 4.0
    assert cut.kept == "one two three four five six seven"


def test_an_interruption_before_the_first_sound_leaves_nothing():
    late = [(0.1, TextPiece("one two")), (3.0, AudioPiece(np.ones(10, np.float32), RATE)), (3.1, Reply("one two"))]
    talk = Rehearsal(replies=[late]).hear(1.0).say(1.0).hear(0.5).say(0.6).hear(1.0)
    assert talk.all(CutOff)[0].kept == "" and talk.all(CutOff)[0].seconds == 0
    assert [role for role, _ in talk.remembered] == ["user", "user"]


def test_an_interruption_in_the_thought_leaves_nothing():
    thinking = [(0.1, ThoughtPiece("they sound sad")), (3.0, TextPiece("oh")), (3.1, Reply("oh"))]
    talk = Rehearsal(replies=[thinking]).hear(1.0).say(1.0).hear(0.5).say(0.6).hear(1.0)
    assert [role for role, _ in talk.remembered] == ["user", "user"]
    assert ReplyDone(1, "cancelled", "turn") in talk.all(ReplyDone)
    (message,) = talk.orders[1].messages  # both turns of the user are one message, and no thought is in it
    assert [part["type"] for part in message["content"]] == ["audio", "audio"]


def test_a_reply_that_is_written_and_still_plays_is_cut_without_being_cancelled():
    talk = replying().say(0.6)
    assert [done.status for done in talk.all(ReplyDone)] == ["completed"]
    assert not talk.all(Abort) and len(talk.all(CutOff)) == 1


def test_a_backchannel_does_not_stop_the_reply():
    talk = replying(verdicts=["complete", "backchannel"]).say(0.3).hear(4.0)
    assert not talk.all(CutOff) and len(talk.all(SpeechStarted)) == 1
    assert talk.all(TurnDropped) == [TurnDropped(2, "backchannel", announced=False)]
    assert talk.remembered[1] == ("assistant", "one two three four five six seven eight")
    assert len(talk.orders) == 1


def test_a_long_backchannel_is_asked_about_again_and_may_turn_into_a_turn():
    talk = replying(verdicts=["complete", "backchannel", "complete"]).say(2.0)
    first, second = talk.when(Judge, 1), talk.when(Judge, 2)
    assert second - first == pytest.approx(1.0, abs=2 * STEP)
    assert talk.when(CutOff) == pytest.approx(second + talk.judging, abs=1e-3)


@pytest.mark.parametrize("verdict", ["noise", "backchannel"])
def test_a_short_sound_over_a_reply_is_judged_when_it_has_ended(verdict):
    talk = replying(verdicts=["complete", verdict]).say(0.2).hear(1.0)
    assert talk.evidence[1].paused and talk.evidence[1].over_reply
    assert [dropped.why for dropped in talk.all(TurnDropped)] == [verdict] and not talk.all(CutOff)


def test_wait_silences_the_reply_without_an_answer():
    talk = replying(verdicts=["complete", "wait"]).say(0.3).hear(3.0)
    assert len(talk.all(CutOff)) == 1 and len(talk.orders) == 1
    assert talk.all(TurnDropped) == [TurnDropped(2, "wait", announced=True)]
    assert [role for role, _ in talk.remembered] == ["user", "assistant"]


def test_wait_in_silence_is_not_answered():
    talk = Rehearsal(verdicts=["wait"]).hear(1.0).say(1.0).hear(2.0)
    assert not talk.orders and talk.remembered == []


def test_speech_that_must_not_interrupt_is_answered_behind_the_reply():
    talk = replying(rules=TalkRules(judge_after=0.2, interrupts=False)).say(0.6).hear(5.0)
    assert not talk.all(CutOff) and len(talk.all(TurnTaken)) == 2 and len(talk.orders) == 2
    assert talk.when(Begin, 1) == pytest.approx(talk.when(PlayedOut), abs=STEP)
    assert [role for role, _ in talk.remembered][:3] == ["user", "assistant", "user"]


# What is no turn


def test_a_cough_a_laugh_and_music_do_not_become_turns():
    talk = Rehearsal(verdicts=["noise"] * 3)
    for _ in range(3):
        talk.hear(0.5).say(0.4).hear(1.0)
    assert not talk.orders and not talk.all(TurnTaken)
    assert [dropped.why for dropped in talk.all(TurnDropped)] == ["noise"] * 3


def test_a_click_is_not_even_asked_about():
    talk = Rehearsal().hear(1.0).say(0.06).hear(1.0)
    assert not talk.log


def test_another_talker_far_away_starts_no_turn():
    talk = Rehearsal().hear(1.0).say(1.0).hear(4.0)
    asked = len(talk.log)
    talk.hear(3.0, SOFT)
    assert len(talk.log) == asked


def test_another_talker_far_away_does_not_interrupt():
    talk = replying().hear(2.0, SOFT)
    assert not talk.all(CutOff) and len(talk.all(Judge)) == 1


@pytest.mark.parametrize(("below", "stops"), [(8.0, True), (12.0, False)])
def test_over_a_reply_a_voice_must_be_nearly_as_loud_as_the_users(below, stops):
    other = LOUD * 10 ** (-below / 20)
    assert bool(replying().hear(2.0, other).all(CutOff)) is stops
    assert len(Rehearsal().hear(1.0).say(1.0).hear(4.0).hear(1.0, other).hear(1.0).all(TurnTaken)) == 2  # in silence


def test_the_same_quiet_voice_is_a_turn_where_nobody_was_louder():
    assert Rehearsal().hear(1.0).hear(1.0, SOFT).hear(1.0).all(TurnTaken)


# Pauses


def test_an_incomplete_sentence_waits_and_joins_the_next_part():
    talk = Rehearsal(verdicts=["incomplete", "complete"]).hear(1.0).say(1.0).hear(1.0).say(1.0).hear(1.0)
    (taken,) = talk.all(TurnTaken)
    assert len(talk.all(SpeechStarted)) == 1
    assert len(taken.entry.samples) / SAMPLE_RATE == pytest.approx(0.3 + 3.0 + 0.2, abs=2 * STEP)
    assert talk.evidence[1].seconds == pytest.approx(2.0, abs=0.1)


def test_an_incomplete_sentence_is_taken_after_the_longest_wait():
    talk = Rehearsal(verdicts=["incomplete"]).hear(1.0).say(1.0).hear(4.0)
    assert talk.when(TurnTaken) == pytest.approx(2.0 + 2.0, abs=2 * STEP)


def test_an_answer_about_a_pause_that_is_over_is_void():
    talk = Rehearsal(judging=0.3, verdicts=["complete", "complete"]).hear(1.0).say(1.0).hear(0.25).say(1.0).hear(1.0)
    assert len(talk.all(TurnTaken)) == 1
    assert talk.when(TurnTaken) > 3.2 and len(talk.orders) == 1


def test_two_quick_turns_are_both_answered():
    quick = TalkRules(judge_after=0.2)
    talk = Rehearsal(rules=quick, replies=[LONG, LONG]).hear(1.0).say(0.5).hear(0.3).say(0.5).hear(2.0)
    assert len(talk.all(TurnTaken)) == 2 and len(talk.orders) == 2
    (message,) = talk.orders[1].messages
    assert len(message["content"]) == 2


def test_ten_minutes_of_monologue_take_no_more_memory_than_half_a_minute():
    talk = Rehearsal(rules=TalkRules(judge_after=0.2, max_sound=5.0)).hear(1.0)
    sizes = []
    for _ in range(5):  # two minutes each
        talk.say(120.0)
        sizes.append(len(talk.talk.user.frames))
    talk.hear(2.0)
    limit = round(5.0 / STEP) + 1
    assert max(sizes) <= limit and talk.largest <= limit * FRAME
    (taken,) = talk.all(TurnTaken)
    assert taken.entry.earlier.startswith("part1 part2") and len(taken.entry.samples) <= limit * FRAME


def test_no_sound_of_a_long_turn_is_lost_between_its_parts():
    talk = Rehearsal(rules=TalkRules(judge_after=0.2, max_sound=5.0)).hear(1.0).say(33.0).hear(2.0)
    parts = talk.all(Part)
    assert [part.part for part in parts] == list(range(1, len(parts) + 1)) and parts[-1].last
    total = sum(len(part.samples) for part in parts) / SAMPLE_RATE
    assert total == pytest.approx(0.3 + 33.0 + 0.2, abs=0.15)


# Failures


def test_a_reply_that_fails_ends_clearly_and_the_talk_continues():
    talk = Rehearsal(replies=[[(0.1, TextPiece("well"))]]).hear(1.0).say(1.0).hear(1.0)
    talk.tell(Broke(1, "out of memory")).say(1.0).hear(3.0)
    first, second = talk.all(ReplyDone)
    assert first == ReplyDone(1, "failed", "out of memory") and second.status == "completed"
    assert [role for role, _ in talk.remembered] == ["user", "user", "assistant"]


def test_news_of_a_reply_that_is_gone_change_nothing():
    talk = replying().say(0.6)
    before = talk.talk
    talk.tell(Broke(1, "late")).tell(Broke(99, "never"))
    assert talk.talk.history is before.history and talk.talk.answer is before.answer


# Speculation

EAGER = TalkRules(judge_after=0.4, speculate_after=0.1)


def test_a_speculation_is_given_out_once_its_turn_is_taken():
    talk = Rehearsal(rules=EAGER).hear(1.0).say(1.0).hear(1.0)
    assert talk.when(Begin) == pytest.approx(2.1, abs=STEP)
    assert talk.when(ReplyStarted) == talk.when(Said) == talk.when(TurnTaken) == pytest.approx(2.45, abs=STEP)


def test_a_speculation_is_thrown_away_when_speech_continues():
    talk = Rehearsal(rules=EAGER, replies=[spoken("never said", first=0.02)]).hear(1.0).say(1.0).hear(0.2).say(1.0)
    assert len(talk.orders) == 1 and not talk.all(Said) and not talk.all(ReplyStarted)
    talk.hear(1.0)
    assert not any("never" in str(output) for output in (*talk.all(Said), *talk.remembered))
    assert len(talk.all(ReplyStarted)) == 1 and talk.all(ReplyStarted)[0].reply == 2


def test_a_speculation_that_fails_is_ordered_anew():
    talk = Rehearsal(rules=EAGER, replies=[[]]).hear(1.0).say(1.0).hear(0.2).tell(Broke(1, "no room")).hear(1.0)
    assert not [done for done in talk.all(ReplyDone) if done.status == "failed"]
    assert len(talk.all(ReplyStarted)) == 1


@pytest.mark.parametrize("verdict", ["backchannel", "wait", "noise"])
def test_a_speculation_about_what_is_no_turn_leaves_no_trace(verdict):
    talk = Rehearsal(rules=EAGER, verdicts=[verdict]).hear(1.0).say(1.0).hear(2.0)
    assert len(talk.orders) == 1 and not talk.all(Said) and talk.remembered == []


# Unfriendly sound


@pytest.mark.parametrize("block", [7, 160, 511, 513, 4_000, 48_000])
def test_the_size_of_the_blocks_changes_nothing(block):
    def run(size: int) -> list[Any]:
        talk = Rehearsal()
        samples = np.concatenate([sound(1.0), sound(1.0, LOUD), sound(0.25)])
        for at in range(0, len(samples), size):
            talk.tell(Sound(samples[at : at + size]))
        turn = talk.talk.user
        return [talk.talk.clock, turn.start, turn.end, turn.speech, turn.probabilities, *talk.kinds(())]

    assert run(block) == run(FRAME)


def test_clipped_sound_is_sound():
    talk = Rehearsal().hear(1.0).hear(1.0, 40.0).hear(1.0)
    (taken,) = talk.all(TurnTaken)
    assert np.abs(taken.entry.samples).max() <= 1.0


@pytest.mark.parametrize("bad", [np.array([np.nan], np.float32), np.zeros((2, 2), np.float32)])
def test_sound_that_is_none_is_refused_and_the_talk_still_holds(bad):
    talk = replying()
    before = talk.talk
    with pytest.raises(InputError, match="finite samples"):
        talk.tell(Sound(bad))
    assert talk.talk is before


@pytest.mark.parametrize("minutes", [1, pytest.param(60, marks=pytest.mark.slow)])
def test_silence_leaves_nothing_behind(minutes):
    talk = Rehearsal(block=FRAME * 100)
    talk.hear(60.0 * minutes)
    assert not talk.log and len(talk.talk.before) < 20


@pytest.mark.parametrize("minutes", [2, pytest.param(60, marks=pytest.mark.slow)])
def test_a_long_talk_takes_no_more_memory_and_does_not_drift(minutes):
    talk = Rehearsal()
    for _ in range(minutes * 6):  # a question and its answer every ten seconds
        talk.say(2.0).hear(8.0)
        talk.orders.clear()
        talk.evidence.clear()
    taken = [at for at, event in talk.log if isinstance(event, TurnTaken)]
    assert np.ptp(np.diff(taken)) <= STEP and len(taken) == minutes * 6
    assert sum(entry.samples is not None for entry in talk.talk.history) <= 8 and len(talk.talk.history) <= 200


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, LOUD, SOFT]), st.floats(0.05, 1.2)), min_size=1, max_size=12),
    st.lists(st.sampled_from(["complete", "incomplete", "backchannel", "wait", "noise", None]), max_size=8),
    st.booleans(),
)
def test_whatever_is_said_every_reply_ends_once_and_sides_take_turns(timeline, verdicts, eager):
    rules = TalkRules(judge_after=0.2, speculate_after=0.1 if eager else None)
    talk = Rehearsal(rules=rules, verdicts=verdicts)
    for amplitude, seconds in timeline:
        talk.hear(seconds, amplitude)
    talk.hear(8.0)
    started = [event.reply for event in talk.all(ReplyStarted)]
    assert sorted(done.reply for done in talk.all(ReplyDone)) == started
    assert len(talk.all(SpeechStarted)) == len(talk.all(SpeechStopped))
    opened = {event.turn for event in talk.all(SpeechStarted)}
    assert {event.turn for event in talk.all(TurnTaken)} <= opened
    assert all(said.reply in started for said in talk.all(Said))
    assert talk.talk.answer is None and talk.talk.user is None
    for order in talk.orders:
        roles = [message["role"] for message in order.messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
