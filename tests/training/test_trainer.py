"""A run learns, stops where it is reported, continues as if nothing had happened, and leaves a model behind."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import re
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from safetensors.torch import load_file

import osum
from osum.checkpoints.folder import STATE
from osum.corpus.manifest import read_manifest, write_manifest
from osum.engine.options import GenerationOptions
from osum.errors import InputError, OsumError
from osum.model.letters import BLANK
from osum.model.modeling_osum import next_token_loss
from osum.tasks import OSUM, LabelSet, Task
from osum.training.batch import CTC_PAD, CTC_UNKNOWN, Pick
from osum.training.config import TrainConfig
from osum.training.objective import NOT_INPUTS, CtcHead, counts
from osum.training.optim import rate
from osum.training.trainer import Trainer, hand_back_memory, train
from osum.utterance import Utterance
from training.conftest import TASKS, MakeConfig, losses, same


@pytest.fixture
def done(config: MakeConfig) -> Path:
    """The last checkpoint of an uninterrupted run."""
    return Trainer(config()).run()


def test_a_run_ends_at_its_last_step_and_says_what_it_did(done: Path) -> None:
    assert done.name == "step-4" and sorted(losses(done.parent)) == [1, 2, 3, 4]
    rows = [json.loads(line) for line in (done.parent / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "valid" in row] == [2, 4]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_resumed_run_is_the_uninterrupted_one_bit_by_bit(config: MakeConfig, tmp_path: Path, optimizer: str) -> None:
    done = Trainer(config(optimizer=optimizer, batches_per_step=2)).run()
    shutil.copytree(done.parent / "step-2", tmp_path / "other" / "step-2")
    resumed = Trainer(config(out=str(tmp_path / "other"), optimizer=optimizer, batches_per_step=2)).run()
    whole = losses(done.parent)
    assert losses(resumed.parent) == {step: whole[step] for step in (3, 4)}
    assert same(resumed, done)


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # fewer cores than workers
def test_a_run_does_not_depend_on_the_number_of_workers(done: Path, config: MakeConfig, tmp_path: Path) -> None:
    before = set(multiprocessing.active_children())  # of tests that ran here earlier
    other = Trainer(config(out=str(tmp_path / "other"), workers=2)).run()
    assert losses(other.parent) == losses(done.parent) and same(other, done)
    assert set(multiprocessing.active_children()) <= before


def test_another_seed_is_another_run(done: Path, config: MakeConfig, tmp_path: Path) -> None:
    assert not same(Trainer(config(out=str(tmp_path / "other"), seed=2)).run(), done)


def test_a_finished_run_has_nothing_to_do(done: Path, config: MakeConfig) -> None:
    assert Trainer(config()).run() == done
    assert len(losses(done.parent)) == 4


def test_a_checkpoint_half_written_is_not_gone_on_from(done: Path, config: MakeConfig, tmp_path: Path) -> None:
    out = tmp_path / "other"
    shutil.copytree(done.parent / "step-2", out / "step-2")
    shutil.copytree(done.parent / "step-2", out / ".step-4.partial")
    (out / ".step-4.partial" / STATE).write_bytes(b"half")
    assert same(Trainer(config(out=str(out))).run(), done)


def test_the_folder_written_is_a_model_that_answers(config: MakeConfig) -> None:
    folder = Trainer(config(steps=1, evidence={"SGC": "synthetic"}, prompt_set="brief")).run()
    recognizer = osum.load(folder)
    result = recognizer.label(torch.zeros(4_000).numpy(), generation=GenerationOptions(max_new_tokens=3))
    assert list(recognizer.tasks) == ["ASR", "SRWT", "VED", "SGC"]
    assert result.summary["SGC"].evidence == "synthetic" and result.summary["VED"].evidence is None


def test_what_is_frozen_does_not_move_and_the_rest_does(config: MakeConfig, tiny: Path) -> None:
    frozen = ("model.language_model", "model.audio_tower.layers.0")
    before, after = (
        load_file(path / "model.safetensors") for path in (tiny, Trainer(config(steps=2, freeze=frozen)).run())
    )
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith(frozen) for name in moved)
    assert any("adaptor" in name for name in moved) and any("audio_tower.layers.1" in name for name in moved)


def test_position_tables_never_learn(config: MakeConfig) -> None:
    assert not [name for name in Trainer(config()).learned if "embed_positions" in name]


def test_a_prefix_that_freezes_nothing_is_an_error(config: MakeConfig) -> None:
    with pytest.raises(InputError, match="no parameter begins with 'language_model'"):
        Trainer(config(freeze=("language_model",)))


def test_a_loss_that_is_no_number_names_the_clips(config: MakeConfig) -> None:
    trainer = Trainer(config())
    batch = next(iter(trainer.loader))
    torch.nn.init.constant_(trainer.model.model.adaptor.layer_norm.weight, torch.nan)
    with pytest.raises(FloatingPointError, match=f"at step 0, clips .*{batch['ids'][0]}"):
        trainer.train_step([batch])


@pytest.mark.parametrize(
    ("falls", "weights"),
    [(("loss", "ctc"), {}), (("loss", "label"), {"label_weight": 20.0}), (("token",), {"token_weight": 2.0})],
)
def test_learning_lowers_the_losses(config: MakeConfig, falls: tuple[str, ...], weights: dict[str, float]) -> None:
    trainer = Trainer(config(learning_rate=3e-3, steps=100, **weights))
    batch = next(iter(trainer.valid_loader))
    first = trainer.train_step([batch])
    for _ in range(8):
        last = trainer.train_step([batch])
    assert all(last[name] < first[name] for name in falls)


def test_validation_is_the_same_whenever_it_is_asked(config: MakeConfig) -> None:
    trainer = Trainer(config())
    assert trainer.validate() == trainer.validate()


def test_the_answer_loss_is_the_sum_over_answers_of_the_models_loss(config: MakeConfig) -> None:
    trainer = Trainer(config())
    trainer.model.eval()
    batch = next(iter(trainer.valid_loader))
    inputs = {name: value for name, value in batch.items() if name not in NOT_INPUTS}
    logits = trainer.model(**inputs).logits
    text_ids = trainer.model.config.get_text_config().vocab_size
    rows = [next_token_loss(logits[[row]], batch["labels"][[row]], text_ids) for row in range(len(logits))]
    assert trainer.losses(batch)[0].item() == pytest.approx(torch.stack(rows).sum().item(), rel=1e-5)


@pytest.mark.parametrize("questions", [0, 2])
def test_a_batch_that_cannot_be_read_moves_nothing(config: MakeConfig, questions: int) -> None:
    trainer = Trainer(config(questions_per_clip=questions))
    collator = trainer.loader.collate_fn
    collator.utterances = [Utterance("gone", "gone.wav", text="tone")]
    silence = collator([Pick(0, 1)])
    assert counts(silence).tolist() == [0] * 5
    found = trainer.losses(silence)
    found.sum().backward()
    assert found.tolist() == [0] * 5
    assert not any(parameter.grad is not None and parameter.grad.any() for parameter in trainer.learned.values())


@pytest.mark.parametrize(("label_weight", "parts"), [(0.0, {"audio_tower"}), (0.2, {"audio_tower", "adaptor"})])
def test_without_questions_the_encoder_learns_alone(
    config: MakeConfig, tiny: Path, label_weight: float, parts: set[str]
) -> None:
    trainer = Trainer(config(steps=1, questions_per_clip=0, label_weight=label_weight))
    before, after = (load_file(path / "model.safetensors") for path in (tiny, trainer.run()))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.removeprefix("model.").split(".")[0] for name in moved} == parts


def test_each_stage_continues_from_the_one_before_and_is_made_once(config: MakeConfig, tmp_path: Path) -> None:
    plan = [config(out=str(tmp_path / "one"), steps=2), config(out=str(tmp_path / "two"), steps=2, seed=3)]
    last = train(plan)
    assert last == tmp_path / "two" / "step-2"
    alone = Trainer(replace(plan[1], model=str(tmp_path / "one" / "step-2"), out=str(tmp_path / "alone"))).run()
    assert same(alone, last)
    written = (tmp_path / "one" / "step-2" / "progress.json").stat().st_mtime_ns
    shutil.rmtree(last)
    assert same(train(plan), alone)
    assert (tmp_path / "one" / "step-2" / "progress.json").stat().st_mtime_ns == written


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_freed_memory_goes_back_to_the_system() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    used = [b"x" * 50_000 for _ in range(4_000)]  # too small to be mapped for itself
    on_top = [b"x" * 50_000 for _ in range(10)]
    del used
    before = resident()
    hand_back_memory()
    assert len(on_top) == 10 and before - resident() > 150e6


def test_rows_that_teach_nothing_are_reported(config: MakeConfig) -> None:
    with pytest.raises(InputError, match="holds no row"):
        Trainer(config(tasks={"SAP": 1.0}))


def test_a_label_of_ones_own_is_learned(config: MakeConfig, data: Path, tmp_path: Path) -> None:
    """A task set of one's own, its labels in a manifest: what a fine-tuning is."""
    pitch = LabelSet("pitch", ("low", "high"))
    task = Task("PITCH", "<TRANSCRIBE> <PITCH>", "pitch of the voice", label_sets=(pitch,))
    tasks = OSUM.keep(("ASR",)).with_task(task, {"en": ["Transcribe, then tell the pitch: <low|high>."]})
    (tmp_path / "tasks.json").write_text(json.dumps(tasks.to_dict()), "utf8")
    rows = list(read_manifest(data / "train.jsonl"))
    marked = [row.with_(labels={"pitch": "low" if row.labels["gender"] == "male" else "high"}) for row in rows[:6]]
    write_manifest(tmp_path / "mine.jsonl", marked)
    settings = {"tasks_file": str(tmp_path / "tasks.json"), "tasks": {}, "valid": str(tmp_path / "mine.jsonl")}
    settings["mixture"] = {"mine": {"manifest": str(tmp_path / "mine.jsonl"), "weight": 1.5, "tasks": ["PITCH"]}}
    last = Trainer(config(steps=2, learn="adaptor+lora", **settings)).run()
    assert set(osum.load(last).label(torch.zeros(4_000).numpy(), "PITCH").summary["PITCH"].distribution) == {
        "low",
        "high",
    }


def test_a_clip_that_cannot_be_read_is_left_out_and_reported(
    config: MakeConfig, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = list(read_manifest(data / "train.jsonl"))
    (tmp_path / "bad.wav").write_bytes(b"RIFF" + bytes(60))
    broken = Utterance("broken", str(tmp_path / "bad.wav"), text="tone", duration=0.5)
    write_manifest(tmp_path / "train.jsonl", [*rows, broken])
    write_manifest(tmp_path / "valid.jsonl", rows[:2])
    last = Trainer(config(data=str(tmp_path), steps=4, batch_seconds=60.0, tasks=TASKS)).run()
    assert last.name == "step-4" and "bad.wav" in caplog.text and "(4 clips so far)" in caplog.text


def test_no_validation_set_is_no_validation(config: MakeConfig, data: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path / "train.jsonl", read_manifest(data / "train.jsonl"))
    last = Trainer(config(data=str(tmp_path))).run()
    assert last.name == "step-4" and not (last.parent / "best").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "valid.jsonl: no line is a JSON object (it is empty, with no rows)"),
        ('{"id": "1", "path": "a.wav", "labels": {"age": "adult"}}\n', "valid.jsonl holds no row to validate on ("),
    ],
)
def test_a_validation_set_of_which_nothing_can_be_asked_is_one_line(
    config: MakeConfig, data: Path, tmp_path: Path, text: str, message: str
) -> None:
    write_manifest(tmp_path / "train.jsonl", read_manifest(data / "train.jsonl"))
    (tmp_path / "valid.jsonl").write_text(text)
    with pytest.raises(OsumError, match=re.escape(message)) as caught:
        Trainer(config(data=str(tmp_path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("step", "share"), [(0, 0.25), (3, 1.0), (10, 1.0), (15, 1.0), (18, 0.5), (20, 0.0)])
def test_the_rate_rises_stays_and_falls_to_nothing(step: int, share: float) -> None:
    config = TrainConfig(steps=20, warmup_steps=4, decay_fraction=0.2, learning_rate=2.0)
    assert rate(step, config) == 2 * share


@pytest.mark.parametrize(("step", "share"), [(0, 0.25), (3, 1.0), (15, 0.5), (35, 1 / 3)])
def test_the_rate_of_the_release_falls_with_the_root_of_the_step(step: int, share: float) -> None:
    assert rate(step, TrainConfig(schedule="noam", warmup_steps=4, learning_rate=2.0)) == pytest.approx(2 * share)


def test_a_schedule_of_no_such_name_is_reported() -> None:
    with pytest.raises(InputError, match="schedule is 'cosine': give linear or noam"):
        rate(0, TrainConfig(schedule="cosine"))


def test_the_ctc_loss_counts_known_transcripts_alone() -> None:
    head, states, lengths = CtcHead(8), torch.randn(2, 9, 8), torch.tensor([9, 7])
    known = head(states[:1], lengths[:1], torch.tensor([[1, 2]]))
    both = head(states, lengths, torch.tensor([[1, 2], [CTC_UNKNOWN, CTC_PAD]]))
    assert both.item() == pytest.approx(known.item())
    silence = head(states, lengths, torch.tensor([[1, 2], [CTC_PAD, CTC_PAD]]))
    blanks = -head.linear(states[1, :7]).log_softmax(-1)[:, BLANK].sum()
    assert silence.item() == pytest.approx(known.item() + blanks.item(), rel=1e-5)


def test_no_known_transcript_is_no_ctc_loss() -> None:
    loss = CtcHead(8)(torch.randn(1, 9, 8), torch.tensor([9]), torch.tensor([[CTC_UNKNOWN]]))
    assert loss.item() == 0


def test_losses_do_not_depend_on_how_clips_fall_into_batches(config: MakeConfig) -> None:
    small, large = (Trainer(config(batch_seconds=seconds, timed_share=0.0)) for seconds in (0.7, 60.0))
    assert len(small.valid_loader) > len(large.valid_loader) == 1
    assert small.validate() == pytest.approx(large.validate(), rel=1e-5)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_either_optimiser_updates_every_parameter_once(config: MakeConfig, name: str) -> None:
    trainer = Trainer(config(optimizer=name))
    updated = [p for item in trainer.optimizers for group in item.param_groups for p in group["params"]]
    assert sorted(map(id, updated)) == sorted(map(id, trainer.learned.values()))
    assert [type(item).__name__ for item in trainer.optimizers] == ["Muon", "AdamW"][name == "adamw" :]


def test_muon_wants_whole_matrices(config: MakeConfig) -> None:
    with pytest.raises(InputError, match="it wants whole matrices; give optimizer=adamw"):
        Trainer(config(optimizer="muon", shard=True))


def test_an_optimiser_of_no_such_name_is_reported(config: MakeConfig) -> None:
    with pytest.raises(InputError, match="optimizer is 'sgd': give adamw or muon"):
        Trainer(config(optimizer="sgd"))


def test_batches_that_processes_cannot_share_are_reported(config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PartialState(cpu=True).__dict__, "num_processes", 2)
    with pytest.raises(InputError, match="batches_per_step is 3: give a multiple of the 2 processes"):
        Trainer(config(batches_per_step=3))


@pytest.mark.parametrize(
    ("change", "reported"), [({"learning_rate": 1.0}, "learning_rate=0.001"), ({"seed": 5}, "seed=1")]
)
def test_a_run_does_not_continue_with_another_recipe(
    done: Path, config: MakeConfig, change: dict[str, float], reported: str
) -> None:
    with pytest.raises(
        InputError, match=f"holds a run with {reported}, the recipe says .*: continue with the same recipe"
    ):
        Trainer(config(**change))


def test_a_run_may_be_made_longer(done: Path, config: MakeConfig) -> None:
    assert Trainer(config(steps=5, log_every=5)).run().name == "step-5"


def test_the_best_checkpoint_stays(config: MakeConfig) -> None:
    out = Trainer(config(steps=8, learning_rate=3e-2, keep=1)).run().parent
    found = [row for row in map(json.loads, (out / "log.jsonl").read_text().splitlines()) if "valid" in row]
    best = min(found, key=lambda row: row["valid"]["loss"])
    assert json.loads((out / "best" / "progress.json").read_text())["step"] == best["step"]


@pytest.mark.parametrize("changes", [{}, {"dtype": "bfloat16", "learn": "adaptor+lora"}])
def test_clips_are_answered_and_scored(config: MakeConfig, changes: dict[str, str]) -> None:
    scores = Trainer(config(answered_clips=3, best="SGC", **changes)).validate()
    assert 0 <= scores["SGC"] <= 1 and 0 <= scores["VED"] <= 1 and {"loss", "ctc", "label"} < set(scores)


def test_a_best_figure_that_is_not_measured_is_reported(config: MakeConfig) -> None:
    with pytest.raises(InputError, match="best is 'wer': validation gives loss, ctc, label, token, spelling; see"):
        Trainer(config(best="wer")).run()


def test_checkpointed_activations_change_nothing(config: MakeConfig) -> None:
    plain, saved = (Trainer(config(activation_checkpointing=value)) for value in (False, True))
    batch = next(iter(plain.valid_loader))
    for trainer in (plain, saved):
        trainer.model.config.audio_config.dropout = 0.0
    assert saved.train_step([batch])["loss"] == pytest.approx(plain.train_step([batch])["loss"], rel=1e-6)


def test_used_up_memory_says_what_to_lower(config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB.\nMore")

    trainer = Trainer(config())
    monkeypatch.setattr(trainer.objective, "forward", full)
    with pytest.raises(InputError, match=r"at step 0 .CUDA out of memory.*: lower batch_seconds") as caught:
        trainer.run()
    assert "\n" not in str(caught.value)


def test_a_run_draws_its_losses(done: Path) -> None:
    assert (done.parent / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_gets_what_the_log_gets(config: MakeConfig) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out = Trainer(config(track=("tensorboard",))).run().parent
    events = accumulator.EventAccumulator(str(out))
    events.Reload()
    reported = [event.value for event in events.Scalars("loss")]
    assert reported == pytest.approx([row[0] for _, row in sorted(losses(out).items())], rel=1e-5)


def test_a_tracker_of_no_such_name_is_reported(config: MakeConfig) -> None:
    with pytest.raises(InputError, match="track: 'wandb' is unknown"):
        Trainer(config(track=("wandb",))).run()
