"""Dialogue batches: filters, tensors of text and speech, and a loss over both that is the original's."""

from __future__ import annotations

import json
import logging
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from corpus.manifests_of_others import write_clip
from model.golden import FIXTURES, arrays, echat_model, tensors
from model.golden_echat import LAYOUTS, processor_of
from model.test_golden_echat import forward_of
from model.tiny import tiny_model, tiny_processor
from torch import Tensor

from osum.corpus.clips import ClipAudio
from osum.corpus.dialogues import Dialogue, DialogueTurn, write_dialogues
from osum.corpus.manifest import write_manifest
from osum.model import OsumForConditionalGeneration, OsumProcessor
from osum.model.configuration_osum import IGNORED
from osum.tasks import OSUM
from osum.training.batch import Augmenter, BucketSampler, Pick
from osum.training.config import DialogueOptions, MixturePart
from osum.training.dialogue_batch import DialogueCollator, Row, read_dialogue_mixture
from osum.training.dialogue_layout import DialogueLayout
from osum.training.mixture import Mixture
from osum.training.objective import DialogueObjective
from osum.utterance import Utterance

from .dialogues import assistant, dialogues, user

PROCESSOR = tiny_processor("chatml")


def read(folder: Path, rows: list[Dialogue], weight: float = 1.0, **options: Any) -> Mixture[Row]:
    write_dialogues(folder / "given.jsonl", rows)
    parts = {"part": MixturePart(str(folder / "given.jsonl"), weight)}
    return read_dialogue_mixture(parts, DialogueOptions(**options), OSUM, PROCESSOR)


def collator(rows: Any, augmenter: Augmenter | None = None, **options: Any) -> DialogueCollator:
    tasks = {"ASR": 1.0}
    return DialogueCollator(rows, ClipAudio(), PROCESSOR, OSUM, tasks, DialogueOptions(**options), augmenter)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dialogues")


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[Dialogue]:
    return dialogues(folder)


def batch_of(rows: list[Any], seed: int = 0, **options: Any) -> dict[str, Any]:
    return collator(rows, **options)([Pick(index, seed + index) for index in range(len(rows))])


# Which rows


def test_streams_and_manifests_weigh_rows(folder: Path, rows: list[Dialogue]) -> None:
    mixture = read(folder, rows, 2.0, streams={"s2t": 0.5, "t2t": 0})
    assert dict(zip((row.id for row in mixture.rows), mixture.weights, strict=True)) == {
        "s2t": 1.0,
        "s2s": 2.0,
        "t2s": 2.0,
        "t2t": 0.0,
        "two": 2.0,
    }
    assert mixture.groups == ("s2t", "s2s", "t2s", "t2t", "s2s")


def test_every_reply_is_learned_where_it_is_wanted(folder: Path, rows: list[Dialogue]) -> None:
    assert [row.id for row in read(folder, rows[4:], every_reply=True).rows] == ["two#1", "two"]


def test_turns_that_the_model_will_not_remember_are_left_out(folder: Path, rows: list[Dialogue]) -> None:
    long = replace(rows[4], turns=rows[4].turns * 4)
    (row,) = read(folder, [long]).rows
    assert isinstance(row, Dialogue)
    assert len(row.turns) == 12  # five exchanges, and the one that is learned


def rejected(folder: Path) -> dict[str, tuple[DialogueTurn, DialogueTurn]]:
    short, gone = str(write_clip(folder / "short.wav", 0.1)), str(folder / "gone.wav")
    sound = str(write_clip(folder / "a.wav"))
    return {
        "not within 0.2 and 30 s": (user(None, short), assistant("yes")),
        "audio that cannot be read": (user(None, gone), assistant("yes")),
        "too little speech for the text": (user(None, sound), assistant("twelve words", 9)),
        "the reply names another assistant": (user(None, sound), assistant("I am ChatGPT.")),
        "more than 1200 ids of text or 2000 in all": (user(None, sound), assistant("x" * 1201)),
        "codes of another model": (user("a"), DialogueTurn("assistant", codes=(1, 6))),
    }


def test_bad_rows_are_left_out_and_counted_by_reason(
    folder: Path, rows: list[Dialogue], caplog: pytest.LogCaptureFixture
) -> None:
    bad = [Dialogue(str(number), turns) for number, turns in enumerate(rejected(folder).values())]
    with caplog.at_level(logging.WARNING):
        mixture = read(folder, [*bad, rows[3]])
    assert [row.id for row in mixture.rows] == ["t2t"]
    assert dict(mixture.dropped) == dict.fromkeys(rejected(folder), 1)
    assert "left out, codes of another model: 1 of 7 rows" in caplog.text


def test_a_part_may_hold_utterances_and_broken_lines(folder: Path, rows: list[Dialogue]) -> None:
    clip = Utterance("clip", str(write_clip(folder / "clip.wav", 0.5)), text="hello")
    write_manifest(folder / "mixed.jsonl", [clip, clip.with_(id="other", text=None)])
    with (folder / "mixed.jsonl").open("a") as file:
        file.write(json.dumps(rows[0].to_dict()) + "\nbroken\n")
    parts = {"mixed": MixturePart(str(folder / "mixed.jsonl"), tasks=("ASR",))}
    mixture = read_dialogue_mixture(parts, DialogueOptions(), OSUM, PROCESSOR)
    assert [row.id for row in mixture.rows] == ["clip", "s2t"]
    assert dict(mixture.dropped) == {"no task of the recipe fits": 1, "broken line": 1}


# Batches


def test_a_row_is_the_same_alone_and_in_any_batch(rows: list[Dialogue]) -> None:
    model = tiny_model("chatml")
    objective = DialogueObjective(model)
    alone = [objective(batch_of([row], seed)).detach() for seed, row in enumerate(rows)]
    together = objective(batch_of(rows)).detach()
    torch.testing.assert_close(torch.stack(alone).sum(0), together)


def test_only_the_last_reply_is_learned(rows: list[Dialogue]) -> None:
    labels = batch_of(rows[4:])["labels"][0]
    text = [token for token in labels.tolist() if 0 <= token < 256]
    assert bytes(text).decode() == "yes"
    assert (labels >= PROCESSOR.speech_ids.first).sum() == 20 + 2


def test_text_and_speech_are_counted_apart(rows: list[Dialogue]) -> None:
    counted = DialogueObjective.counts(batch_of(rows[1:3]))
    assert counted.tolist() == [2 + 1 + 62 + 32, 3, 62 + 32]


def test_the_loss_of_all_tokens_is_that_of_text_and_speech(rows: list[Dialogue]) -> None:
    whole, text, speech = DialogueObjective(tiny_model("chatml"))(batch_of(rows)).tolist()
    assert whole == pytest.approx(text + speech, rel=1e-6)


def test_a_batch_without_sound_gives_the_encoder_no_gradient_but_runs_it(rows: list[Dialogue]) -> None:
    model = tiny_model("chatml")
    batch = batch_of(rows[2:4])
    assert len(batch["input_features"]) == 1 and len(batch["audio_index"]) == 0
    DialogueObjective(model)(batch)[0].backward()
    gradients = [parameter.grad for parameter in model.model.audio_tower.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_a_clip_that_cannot_be_read_costs_only_its_row(rows: list[Dialogue], folder: Path) -> None:
    gone = Dialogue("gone", (user(None, str(folder / "nowhere.wav")), assistant("yes")))
    batch = batch_of([gone, rows[0]])
    assert batch["ids"] == ["s2t"]
    assert "nowhere.wav" in batch["unread"][0]
    nothing = batch_of([gone])
    assert (nothing["ids"], (nothing["labels"] == IGNORED).all().item()) == ([], True)
    assert DialogueObjective(tiny_model("chatml"))(nothing).tolist() == [0, 0, 0]


def test_an_utterance_is_asked_its_task(folder: Path) -> None:
    clip = Utterance("clip", str(write_clip(folder / "clip.wav", 0.5)), text="hello", duration=0.5)
    labels = batch_of([clip])["labels"][0]
    assert bytes(token for token in labels.tolist() if 0 <= token < 256).decode() == "hello"


def test_a_masked_label_is_neither_read_nor_learned(rows: list[Dialogue]) -> None:
    options = DialogueOptions(thinking={"tag": 1}, masked=1.0)
    processor = processor_with_unknown()
    made = DialogueCollator(rows[:1], ClipAudio(), processor, OSUM, {}, options)([Pick(0, 0)])
    hidden = made["input_ids"].shape[1] - int(made["attention_mask"].sum())
    assert hidden >= 2  # gender and event
    masked = made["attention_mask"][0] == 0
    assert (made["labels"][0][masked] == IGNORED).all()


def processor_with_unknown() -> OsumProcessor:
    """`&` in place of `&&`: any id of its own serves."""
    processor = tiny_processor("chatml")
    processor.unknown_token_id = ord("&")
    return processor


def test_changed_clips_change_the_features_alone(rows: list[Dialogue]) -> None:
    plain, changed = (collator(rows[:1], augmenter)([Pick(0, 3)]) for augmenter in (None, Augmenter((), 1.0)))
    assert not torch.equal(plain["input_features"], changed["input_features"])
    assert plain["labels"][plain["labels"] != IGNORED].equal(changed["labels"][changed["labels"] != IGNORED])


def test_batches_hold_one_stream_and_keep_to_their_tokens(folder: Path, rows: list[Dialogue]) -> None:
    mixture = read(folder, rows * 8, in_turns=0.5, thinking={"off": 1, "tag": 1})
    made = collator(mixture.rows, in_turns=0.5, thinking={"off": 1, "tag": 1})
    sampler = BucketSampler(
        mixture.seconds, mixture.weights, 60, 1, 0, 1, 900, made.rows, mixture.lengths, mixture.groups
    )
    batches = sampler.epoch(0)
    assert sum(map(len, batches)) == 40
    for batch in batches:
        assert len({mixture.groups[pick.index] for pick in batch}) == 1
        assert len(batch) == 1 or made(batch)["input_ids"].numel() <= 900


# The original's values


@pytest.fixture(scope="module")
def echat() -> tuple[OsumForConditionalGeneration, OsumProcessor]:
    model = echat_model()
    return model, processor_of(model)


def golden_dialogue(layout: str, row: int, processor: OsumProcessor) -> Dialogue:
    """A golden row as a dialogue; its sounds, of which only log-mels are stored, have any name."""
    forward = forward_of(layout, processor)
    answer, said = forward.answer(row), forward.target(row)
    past = [turn for number in forward.turns(row) for turn in _turns(list(forward.past(row, number)))]
    question = user(said) if layout.startswith("text2token") else user(None, "last")
    codes = () if answer.codes is None else tuple(answer.codes)
    reply = DialogueTurn("assistant", None if layout.startswith("text2token") else said, codes=codes)
    return Dialogue(layout, (*past, question, reply))


def _turns(past: list[dict[str, Any]]) -> list[DialogueTurn]:
    text, *speech = past[1]["content"]
    codes = tuple(code for part in speech for code in part["codes"])
    return [user(None, "past"), DialogueTurn("assistant", text["text"], codes=codes)]


TALKS = [name for name in LAYOUTS if name not in ("text", "text2text", "s2t_chat_fake")]
"""Layouts of dialogues; understanding and its prompts, and a slip of the release's, are laid out elsewhere."""


@pytest.mark.parametrize("layout", TALKS)
def test_a_golden_dialogue_is_laid_out_as_the_original(
    echat: tuple[OsumForConditionalGeneration, OsumProcessor], layout: str
) -> None:
    _, processor = echat
    forward = forward_of(layout, processor)
    theirs = forward.batch()
    mine = []
    for row in range(2):
        dialogue = golden_dialogue(layout, row, processor)
        options = DialogueOptions(released=True, in_turns=float(layout.endswith("streaming")))
        made = DialogueLayout(processor, options).lay(dialogue, random.Random(0))
        # The golden thought is no row's: it stands in the reply's text, so the mode is that of a reply at once.
        text = made.text.replace(made.form.mode.system_prompt, forward.mode.system_prompt)
        mine.append((text, made.runs, made.answer, forward.clips(row)))
    batch = processor.batch(
        [text for text, *_ in mine],
        [clip for *_, clips in mine for clip in clips],
        [answer for _, _, answer, _ in mine],
        "right",
        given=[run for _, runs, _, _ in mine for run in runs],
        text_padding_quirk=True,
    )
    assert batch.keys() == theirs.keys()
    assert all(torch.equal(batch[name], theirs[name]) for name in batch)


SPOKEN = ["text2token", "speech2text_token", "speech2text_token_think", "speech2text_token_history"]
SPOKEN += ["text2token_streaming", "speech2text_token_streaming"]


@pytest.mark.parametrize("layout", SPOKEN)
def test_the_speech_heads_gradient_is_the_originals(
    echat: tuple[OsumForConditionalGeneration, OsumProcessor], layout: str
) -> None:
    """The stored log-sum-exp of the text head, which the fixture lacks rows of, stands in for that head."""
    model, processor = echat
    golden: dict[str, Tensor] = tensors("echat")
    norms = json.loads((FIXTURES / "echat_gradients.json").read_text())[layout]
    batch = forward_of(layout, processor).batch()
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    with torch.no_grad():
        hidden = model.model(**inputs).last_hidden_state
    mask = batch["attention_mask"].bool()
    before = mask.roll(-1, 1)
    before[:, -1] = False
    following = batch["labels"].roll(-1, 1)[before]
    scored = following != IGNORED
    states, targets = hidden[before][scored], following[scored]
    text = golden[f"{layout}_text_logits_logsumexp"][scored]
    speech = model.speech_head(states)
    total = torch.logaddexp(text, speech.logsumexp(-1))
    says = targets >= model.num_text_ids
    answered = speech[says, targets[says] - model.num_text_ids]
    loss = (total.sum() - answered.sum()) / len(targets)
    gradients = torch.autograd.grad(loss, [model.speech_head.weight, model.speech_head.bias])
    for name, gradient in zip(("weight", "bias"), gradients, strict=True):
        assert gradient.norm().item() == pytest.approx(norms[f"speech_head.{name}"], rel=1e-3)


def test_fixtures_hold_every_layout() -> None:
    assert {name.removesuffix("_loss") for name in arrays("echat") if name.endswith("_loss")} == set(LAYOUTS)
