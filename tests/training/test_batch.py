"""Batches: which clips stand in them, what is asked, and that everything random hangs on a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model.tiny import noise, tiny_processor
from torch.utils.data import DataLoader

from osum.corpus.packed import PackedAudio, PackedWriter, to_int16
from osum.model import OsumProcessor
from osum.model.letters import letters
from osum.tasks import OSUM
from osum.training.augment import DEFAULT, Augmentation
from osum.training.batch import (
    CTC_PAD,
    CTC_UNKNOWN,
    FRAMES,
    LABEL_UNKNOWN,
    TOKENS,
    Augmenter,
    BucketSampler,
    Collator,
    Pick,
    QuestionDraw,
)
from osum.training.spec_augment import RELEASED
from osum.utterance import Utterance, Word

DURATIONS = [0.5 + index % 7 for index in range(40)]
ALL = {"ASR": 1.0, "SRWT": 1.0, "SGC": 1.0, "SGC-only": 1.0, "VED": 1.0}
WORDS = (Word("Hi", 0.0, 0.2), Word("you", 0.2, 0.4))
ROWS = (
    Utterance("timed", "a", text="Hi you", words=WORDS, labels={"gender": "female", "event": "none"}),
    Utterance("plain", "a", text="hello", labels={"gender": "male"}),
    Utterance("silent", "a", text="", labels={"event": "none"}),
    Utterance("unknown", "a", labels={"gender": "male"}),
)
LAUGH = Utterance("laugh", "a", text="", labels={"event": "laugh"})
EVERYTHING = Augmentation(codec_probability=1.0, spec=RELEASED)
PICKS = [Pick(index, 100 + index) for index in range(len(ROWS))]
MakeCollator = Callable[..., Collator]


def sampler(seed: int = 1, weight: float = 1.0, process: int = 0, num_processes: int = 1) -> BucketSampler:
    return BucketSampler(DURATIONS, [weight] * len(DURATIONS), 20.0, seed, process, num_processes)


def counts(batches: list[list[Pick]]) -> Counter[int]:
    return Counter(pick.index for batch in batches for pick in batch)


# Which clips


def test_every_clip_stands_once_in_an_epoch() -> None:
    assert counts(sampler().epoch(0)) == dict.fromkeys(range(40), 1)


def test_a_weight_is_how_often_a_clip_stands_on_average() -> None:
    epochs = [counts(sampler(weight=1.5).epoch(number)) for number in range(60)]
    assert {count for epoch in epochs for count in epoch.values()} == {1, 2}
    assert sum(map(Counter.total, epochs)) / 60 / 40 == pytest.approx(1.5, abs=0.03)


@pytest.mark.parametrize(("weight", "total"), [(0.0, 0), (2.0, 80), (3.0, 120)])
def test_a_whole_weight_is_exact(weight: float, total: int) -> None:
    assert counts(sampler(weight=weight).epoch(0)).total() == total


def test_the_copies_of_a_clip_sound_different() -> None:
    seeds = [pick.seed for batch in sampler(weight=2.0).epoch(0) for pick in batch]
    assert len(set(seeds)) == len(seeds)


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 30), min_size=1, max_size=40), st.floats(1, 60), st.integers(0, 9))
def test_a_batch_keeps_to_its_seconds_unless_one_clip_is_longer(
    durations: list[float], seconds: float, seed: int
) -> None:
    batches = BucketSampler(durations, [1.0] * len(durations), seconds, seed).epoch(0)
    assert sorted(pick.index for batch in batches for pick in batch) == list(range(len(durations)))
    for batch in batches:
        padded = max(durations[pick.index] for pick in batch) * len(batch)
        assert padded <= seconds or len(batch) == 1


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.1, 30), st.integers(0, 3), st.integers(1, 90)), min_size=1, max_size=40),
    st.floats(1, 60),
    st.integers(1, 400),
    st.integers(0, 9),
)
def test_a_batch_keeps_to_its_tokens_as_its_first_clip_makes_them(
    clips: list[tuple[float, int, int]], seconds: float, tokens: int, seed: int
) -> None:
    def rows(pick: Pick, first: Pick, duration: float) -> tuple[int, int]:
        _, number, width = clips[pick.index]
        assert duration == clips[pick.index][0]
        return number, width * (1 + first.seed % 2)  # a batch of word times has longer rows

    durations = [clip[0] for clip in clips]
    made = [
        BucketSampler(durations, [1.5] * len(clips), seconds, seed, process, 2, tokens, rows) for process in range(2)
    ]
    batches = made[0].epoch(1)
    assert batches == made[1].epoch(1)
    free = BucketSampler(durations, [1.5] * len(clips), seconds, seed).epoch(1)
    assert sorted((pick.index, pick.seed) for batch in batches for pick in batch) == sorted(
        (pick.index, pick.seed) for batch in free for pick in batch
    )
    for batch in batches:
        sizes = [rows(pick, batch[0], durations[pick.index]) for pick in batch]
        assert sum(number for number, _ in sizes) * max(width for _, width in sizes) <= tokens or len(batch) == 1
        assert max(durations[pick.index] for pick in batch) * len(batch) <= seconds or len(batch) == 1


def test_an_epoch_hangs_on_seed_and_number_alone() -> None:
    assert sampler().epoch(3) == sampler().epoch(3)
    assert sampler().epoch(3) != sampler().epoch(4) != sampler(seed=2).epoch(4)


def test_epochs_follow_each_other_without_end() -> None:
    epochs = [batch for number in range(3) for batch in sampler().epoch(number)]
    assert list(islice(sampler(), len(epochs))) == epochs


@pytest.mark.parametrize("first", [0, 1, 5, 100])
def test_a_resumed_row_continues_where_it_stood(first: int) -> None:
    made = sampler()
    whole = list(islice(made, first + 40))
    made.first = first
    assert list(islice(made, 40)) == whole[first:]


@pytest.mark.parametrize("first", [0, 6])
@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_row(processes: int, first: int) -> None:
    made = [sampler(process=process, num_processes=processes) for process in range(processes)]
    for one in made:
        one.first = first
    dealt = [batch for turn in islice(zip(*made, strict=True), 12) for batch in turn]
    assert dealt == list(islice(sampler(), first, first + 12 * processes))


# What is asked


def drawn(weights: dict[str, float], per_clip: int, timed: bool = False, seed: int = 0) -> list[str]:
    candidates = OSUM.answerable(ROWS[0])
    return [task.name for task in QuestionDraw(per_clip, weights).draw(candidates, timed, random.Random(seed))]


def test_questions_differ_and_are_at_most_as_many_as_asked() -> None:
    for seed in range(20):
        names = drawn(ALL, 3, seed=seed)
        assert len(names) == len(set(names)) == 3 and "SRWT" not in names
    assert sorted(drawn(ALL, 9)) == ["ASR", "SGC", "SGC-only", "VED"]


def test_a_task_without_weight_is_not_asked() -> None:
    assert drawn({"ASR": 1.0, "SGC": 0.0}, 9) == ["ASR"]


def test_a_weight_is_how_often_a_task_is_asked() -> None:
    first = Counter(drawn({"ASR": 3.0, "SGC": 1.0}, 1, seed=seed)[0] for seed in range(2000))
    assert first["ASR"] / 2000 == pytest.approx(0.75, abs=0.03)


def test_a_timed_batch_asks_for_word_times_alone() -> None:
    assert drawn(ALL, 3, timed=True) == ["SRWT"]


def test_the_share_of_timed_batches_is_the_one_asked() -> None:
    questions = QuestionDraw(1, ALL, 0.25)
    share = sum(questions.timed([Pick(0, seed), Pick(1, 9)]) for seed in range(2000)) / 2000
    assert share == pytest.approx(0.25, abs=0.03)
    assert not any(QuestionDraw(1, ALL).timed([Pick(0, seed)]) for seed in range(50))


# The tensors


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Utterance], PackedAudio]:
    path = tmp_path_factory.mktemp("packed") / "audio.i16"
    with PackedWriter(path) as packed:
        rows = [
            row.with_(extra=dict(packed.append(to_int16(noise(6_400 + 800 * index, index)))))
            for index, row in enumerate((*ROWS, LAUGH))
        ]
    return rows, PackedAudio(path)


@pytest.fixture
def collator(audio: tuple[list[Utterance], PackedAudio]) -> MakeCollator:
    def make(questions: QuestionDraw | None = None, augmented: bool = False, **changes: Any) -> Collator:
        rows, packed = audio
        options = changes.get("options", DEFAULT)
        augmenter = Augmenter.from_rows(rows, packed, changes.get("share", 1.0), options) if augmented else None
        processor = changes.get("processor") or tiny_processor("speech_first")
        tasks = changes.get("tasks", OSUM)
        return Collator(rows, packed, processor, tasks, questions or QuestionDraw(2, ALL), augmenter)

    return make


def answers_of(batch: dict[str, Any], processor: OsumProcessor) -> list[str]:
    """What the labels score, the end written as |."""
    kept = [[int(label) for label in row if label != -100] for row in batch["labels"]]
    assert all(row[-1] == processor.answer_end_token_id for row in kept)
    return [processor.decode(row[:-1]) + "|" for row in kept]


def test_a_batch_has_the_shapes_that_the_model_takes(collator: MakeCollator) -> None:
    batch = collator()(PICKS)
    rows, length = batch["input_ids"].shape
    assert batch["attention_mask"].shape == batch["labels"].shape == (rows, length)
    assert batch["input_features"].shape == (4, 80, 60) and batch["feature_attention_mask"].shape == (4, 60)
    assert batch["feature_attention_mask"].sum(1).tolist() == [40, 45, 50, 55]
    assert batch["audio_index"].shape == (rows,) and set(batch["audio_index"].tolist()) == {0, 1, 2, 3}
    assert batch["ids"] == ["timed", "plain", "silent", "unknown"]


def test_padding_makes_few_shapes_and_none_that_is_too_long(collator: MakeCollator) -> None:
    made = collator()
    made.processor.max_samples = 8_800  # 55 frames, the longest clip here
    for number in range(1, 5):
        batch = made(PICKS[:number])
        assert batch["input_ids"].shape[1] == batch["labels"].shape[1] and batch["input_ids"].shape[1] % TOKENS == 0
        assert batch["input_features"].shape[-1] == (2 * FRAMES, 55, 55, 55)[number - 1]
        assert not batch["input_features"].mT[batch["feature_attention_mask"] == 0].any()


def test_labels_score_the_answer_and_its_end_alone(collator: MakeCollator) -> None:
    made = collator(QuestionDraw(1, {"SGC": 1.0}))
    batch = made(PICKS[:2])
    assert answers_of(batch, made.processor) == ["hi you<female>|", "hello<male>|"]
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        scored = torch.nonzero(labels != -100).flatten()
        assert torch.equal(ids[scored], labels[scored])
        assert torch.equal(scored, torch.arange(int(scored[0]), int(scored[-1]) + 1))


def test_padding_stands_on_the_right_and_is_never_scored(collator: MakeCollator) -> None:
    batch = collator()(PICKS)
    assert (batch["attention_mask"].diff(dim=1) <= 0).all()
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()


def test_every_clip_is_asked_what_its_row_can_answer(collator: MakeCollator) -> None:
    made = collator(QuestionDraw(9, ALL))
    batch = made(PICKS)
    asked = dict.fromkeys(range(4), "")
    for clip, answer in zip(batch["audio_index"].tolist(), answers_of(batch, made.processor), strict=True):
        asked[clip] += answer
    assert {clip: "".join(sorted(texts)) for clip, texts in asked.items()} == {
        0: "".join(sorted("hi you|hi you<female>|<female>|hi you<none>|")),
        1: "".join(sorted("hello|hello<male>|<male>|")),
        2: "".join(sorted("|<none>|")),
        3: "".join(sorted("<male>|")),
    }


def test_a_timed_batch_times_what_it_can_and_asks_the_rest_something_else(collator: MakeCollator) -> None:
    made = collator(QuestionDraw(1, {"SRWT": 1.0, "SGC-only": 1.0}, timed_share=1.0))
    texts = answers_of(made(PICKS[:2]), made.processor)
    assert texts == ["<0.00>hi<0.2><0.20>you<0.4>|", "<male>|"]


def test_letters_are_of_the_normalised_transcript_and_the_unknown_is_marked(collator: MakeCollator) -> None:
    targets = collator()(PICKS)["ctc_targets"]
    assert targets[0, : len(letters("hi you"))].tolist() == letters("hi you")
    assert targets[2].tolist() == [CTC_PAD] * targets.shape[1]
    assert targets[3, 0] == CTC_UNKNOWN and (targets[3, 1:] == CTC_PAD).all()


def test_tokens_are_the_ids_of_the_normalised_transcript(collator: MakeCollator) -> None:
    made = collator()
    targets = made(PICKS)["token_targets"]
    assert [token for token in targets[0].tolist() if token != CTC_PAD] == made.processor.text_ids("hi you")
    assert targets[2].tolist() == [CTC_PAD] * targets.shape[1] and targets[3, 0] == CTC_UNKNOWN


def test_labels_stand_at_their_place_in_each_label_set_and_the_unknown_is_marked(collator: MakeCollator) -> None:
    made = collator()
    sets = list(made.tasks.label_sets.values())
    found = [
        {labels.name: labels.labels[at] for labels, at in zip(sets, row, strict=True) if at != LABEL_UNKNOWN}
        for row in made(PICKS)["label_targets"].tolist()
    ]
    assert found == [dict(row.labels) for row in ROWS]


@pytest.mark.parametrize("tokens", [150, 400])
@pytest.mark.parametrize("layout", ["speech_first", "prompt_first"])
def test_batches_of_a_budget_of_tokens_hold_no_more(collator: MakeCollator, layout: str, tokens: int) -> None:
    made = collator(QuestionDraw(3, ALL, timed_share=0.4), processor=tiny_processor(layout))
    seconds = [len(made.audio.read(row)) / 16_000 for row in made.utterances]
    number = len(seconds)
    for seed in range(4):
        row = BucketSampler(seconds, [1.0] * number, 60.0, seed, tokens=tokens, rows=made.rows)
        for picks in row.epoch(0):
            batch = made(picks)
            assert batch["input_ids"].numel() <= tokens or len(picks) == 1
            most = [made.rows(pick, picks[0], seconds[pick.index]) for pick in picks]
            assert len(batch["input_ids"]) == sum(rows for rows, _ in most)
            assert batch["input_ids"].shape[1] <= max(width for _, width in most)


@pytest.mark.parametrize("per_clip", [0, 2])
def test_silence_that_no_loss_counts_stands_for_clips_that_cannot_be_read(
    collator: MakeCollator, per_clip: int
) -> None:
    made = collator(QuestionDraw(per_clip, ALL))
    made.utterances = [Utterance("gone", "gone.wav", text="hi")]
    batch = made([Pick(0, 1)])
    assert batch["ids"] == [] and len(batch["unread"]) == 1
    assert set(batch) == set(collator(QuestionDraw(per_clip, ALL))(PICKS))
    assert batch["ctc_targets"][0, 0] == CTC_UNKNOWN and (batch["label_targets"] == LABEL_UNKNOWN).all()
    assert not per_clip or (batch["labels"] == -100).all()


def test_a_batch_without_questions_holds_the_clips_alone(collator: MakeCollator) -> None:
    batch = collator(QuestionDraw(0, ALL))(PICKS)
    assert set(batch) == {
        *("ctc_targets", "label_targets", "token_targets", "ids", "unread", "input_features", "feature_attention_mask")
    }


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Equal, tensors bit by bit."""
    return left.keys() == right.keys() and all(
        torch.equal(value, right[name]) if isinstance(value, torch.Tensor) else value == right[name]
        for name, value in left.items()
    )


@pytest.mark.parametrize("changes", [{}, {"augmented": True}, {"augmented": True, "options": EVERYTHING}])
def test_a_batch_hangs_on_its_picks_alone(collator: MakeCollator, changes: dict[str, Any]) -> None:
    one, other = collator(**changes), collator(**changes)
    other(PICKS[::-1])
    assert same(one(PICKS), other(PICKS))
    assert not same(one(PICKS), one([Pick(pick.index, pick.seed + 50) for pick in PICKS]))


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # fewer cores than workers
@pytest.mark.parametrize("options", [DEFAULT, EVERYTHING], ids=["default", "everything"])
def test_batches_are_the_same_for_any_number_of_workers(collator: MakeCollator, options: Augmentation) -> None:
    made = collator(augmented=True, options=options)
    batches = [[PICKS[0], PICKS[2]], [PICKS[1]], [PICKS[3], PICKS[1]]]
    runs = [
        list(DataLoader(_AsIs(), batch_sampler=batches, collate_fn=made, num_workers=number))  # type: ignore[arg-type]
        for number in (0, 2)
    ]
    assert all(same(one, other) for one, other in zip(*runs, strict=True))


class _AsIs:
    def __getitem__(self, pick: Pick) -> Pick:
        return pick


def test_augmentation_moves_the_word_times_that_are_asked_for(collator: MakeCollator) -> None:
    made = collator(QuestionDraw(1, {"SRWT": 1.0}, timed_share=1.0), augmented=True)
    moved = [made._load(Pick(0, seed)) for seed in range(30)]
    lengths = [len(waveform) / 16_000 for _, waveform in moved]
    assert len({row.words for row, _ in moved}) > 10 and max(lengths) > 0.5
    for (row, _), length in zip(moved, lengths, strict=True):
        assert [word.text for word in row.words] == ["Hi", "you"]
        assert 0 <= row.words[0].start <= row.words[-1].end <= length + 0.001


def test_a_clip_that_augmentation_makes_too_long_is_taken_as_it_is(collator: MakeCollator) -> None:
    processor = tiny_processor("speech_first")
    processor.max_samples = 6_400
    made = collator(augmented=True, processor=processor)
    loaded = [made._load(Pick(0, seed)) for seed in range(30)]
    assert all(len(waveform) <= 6_400 for _, waveform in loaded)
    assert sum(row.words == WORDS for row, _ in loaded) > 5


def test_the_noises_are_the_clips_without_speech_and_event(audio: tuple[list[Utterance], PackedAudio]) -> None:
    (found,) = Augmenter.from_rows(*audio).noises
    np.testing.assert_array_equal(found, audio[1].read(audio[0][2]))
