import pytest

pytest.importorskip("sklearn")
from slices import slice_figures, slice_table

from osum.utterance import Answer, Segment, Utterance, Word


def clip(name, source="speechocean762", **changes):
    row = Utterance(id=name, path="a", text="two", speaker=name, source=source, extra={"evidence": "real"})
    return row.with_(**changes)


def person(name, gender, age, source="speechocean762"):
    return clip(name, source, labels={"gender": gender, "age": age})


def heard(text="two", **changes):
    return Utterance(id="x", path="-", segments=(Segment(0, 1, text, **changes),))


def rows_of(test, train, predictors=(), answers=None):
    answers = {row.id: heard() for row in test} | (answers or {})
    found = slice_figures(test, train, dict(predictors), answers)
    return {(row["title"], row["data"].split(",")[0]): row for row in found}


def values(row):
    return {name: score["value"] for name, score in row["scores"].items()}


def test_gender_is_that_of_adults_only():
    test = [person("a", "female", "adult"), person("b", "male", "child"), person("c", "male", "adult", "fsdd")]
    row = rows_of(test, test)["gender, adults", "speechocean762"]
    assert row["count"] == 2


def test_majority_and_source_know_only_clips_of_the_slice():
    train = [person("a", "female", "adult"), *(person(name, "male", "child") for name in "bcd")]
    train += [person(name, "male", "adult", "fsdd") for name in "efg"]
    test = [person("h", "female", "adult"), person("i", "male", "adult", "fsdd")]
    assert values(rows_of(test, train)["gender, adults", "speechocean762"]) == {"majority": 0.5, "source only": 1.0}


def test_a_sound_without_a_voice_is_another_event():
    test = [clip("a", "esc10", text="", labels={"event": "none"}), clip("b", "esc10", text="", labels={"event": "cry"})]
    named = {"nano": {"VED": {"a": "none", "b": "cry"}}}
    (row,) = (row for (title, _), row in rows_of(test, test, named).items() if title.startswith("event: cry"))
    assert (row["count"], values(row)["nano"]) == (2, 1.0)


def test_speech_without_an_event_is_no_event():
    test = [clip("a", labels={"event": "none"})]
    assert not any(title.startswith("event") for title, _ in rows_of(test, test))


def test_an_event_inside_speech_stands_beside_mixtures_only():
    def mixed(name, event):
        return clip(name, labels={"event": event}, extra={"evidence": "real", "kind": "event mixture", "parts": ["x"]})

    train = [mixed("a", "laugh"), *(clip(name, labels={"event": "none"}) for name in "bc")]
    row = rows_of([mixed("d", "laugh")], train)["event inside speech", "mixed into recordings"]
    assert values(row) == {"majority": 1.0, "source only": 1.0}


def test_words_are_counted_by_their_errors_and_the_lower_rival_is_the_harder():
    test = [clip("a", "fsdd"), clip("b", "fsdd")]
    words = {
        "classical": {"a": "two", "b": "ten"},
        "classical, x": {"a": "six", "b": "ten"},
        "nano": {"a": "two", "b": None},
    }
    row = rows_of(test, test, {name: {"digits": labels} for name, labels in words.items()})["digits, WER", "FSDD"]
    assert values(row) == {"majority": 0.0, "source only": 0.0, "classical": 0.5, "classical, x": 1.0, "nano": 0.5}
    assert "| 0.0 | 0.0 | 50.0 [" in slice_table([row])


def test_times_and_replies_of_synthetic_speech():
    word = Word("two", 0.1, 0.2)
    test = [clip("a", "espeak", words=(word,), reply="three"), clip("b", "espeak", words=(word,), reply="four")]
    asked = {"labels": {"STTC": Answer(None)}}
    answers = {"a": heard(words=(Word("two", 0.1, 0.22),), reply="Three.", **asked), "b": heard(**asked)}
    found = rows_of(test, test, answers=answers)
    assert values(found["word times, AAS in ms", "synthetic"])["nano"] == pytest.approx(10)
    replies = {title: values(row)["nano"] for (title, _), row in found.items() if title.startswith("reply")}
    assert replies == {"reply (STTC): given": 0.5, "reply (STTC): exactly the reference": 0.5, "reply (STTC): MER": 0.5}
    assert "10.0 [" in slice_table(list(found.values())) and "50.0 % of the words" in slice_table(list(found.values()))
