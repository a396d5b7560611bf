"""Training what speaks codes: flow and vocoder of a tiny CosyVoice, resumed to the bit and opened for use."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from corpus.manifests_of_others import write_clip
from safetensors.torch import load_file
from speech.releases import write_release
from torch import nn

from osum.corpus.clips import ClipAudio
from osum.corpus.dialogues import Dialogue, DialogueTurn, write_dialogues
from osum.corpus.manifest import write_manifest
from osum.errors import RecipeError
from osum.speech.checkpoint import load_synthesizer, load_voice_encoder
from osum.speech.convert import convert_speech
from osum.speech.features import log_magnitude_mel
from osum.speech.flow import FlowBatch, FlowDraws
from osum.speech.voice import Voice
from osum.training.batch import Pick
from osum.training.config import MixturePart, TrainConfig, VoiceOptions, read_recipe
from osum.training.trainer import Trainer
from osum.training.voice import Listener, VoiceCollator, VoiceLosses, VoiceModel, read_voice_mixture
from osum.utterance import Utterance

ROOT = Path(__file__).parents[2]
PARTS = ("flow.safetensors", "vocoder.safetensors", "tokenizer.safetensors", "speaker.safetensors")


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted CosyVoice with tiny weights."""
    folder = tmp_path_factory.mktemp("codec")
    convert_speech(write_release(folder / "release"), folder / "voice")
    return folder / "voice"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two replies with a recording, one of them without codes, and one that is only text."""
    folder = tmp_path_factory.mktemp("replies")
    sounds = [str(write_clip(folder / f"{number}.wav", 0.9 + 0.3 * number, number, 24_000)) for number in range(2)]
    turns = [
        DialogueTurn("assistant", "a", sounds[0], codes=tuple(range(15))),
        DialogueTurn("assistant", "b", sounds[1]),
        DialogueTurn("assistant", "c"),
    ]
    dialogues = [Dialogue(str(turn.text), (DialogueTurn("user", "q"), turn)) for turn in turns]
    write_dialogues(folder / "rows.jsonl", dialogues)
    return folder / "rows.jsonl"


@pytest.fixture
def config(codec: Path, rows: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        kind="voice",
        mixture={"replies": MixturePart(str(rows))},
        out=str(tmp_path / "run"),
        model=str(codec),
        learn="flow+vocoder",
        voice=VoiceOptions(judge_channels=2),
        dtype="float32",
        steps=4,
        batch_seconds=4,
        warmup_steps=1,
        save_every=2,
        log_every=1,
        workers=0,
    )


def logged(out: str) -> list[dict[str, float]]:
    found = [json.loads(line) for line in (Path(out) / "log.jsonl").read_text().splitlines()]
    return [row for row in found if "flow" in row]


def test_replies_with_a_recording_are_what_is_learned(rows: Path) -> None:
    mixture = read_voice_mixture({"a": MixturePart(str(rows), 2.0)})
    assert [row.id for row in mixture.rows] == ["a, reply 1", "b, reply 1"]
    assert (mixture.weights, mixture.seconds) == ((2.0, 2.0), (0.6, 0.8))


def test_utterances_are_speech_too_and_short_ones_are_counted(tmp_path: Path) -> None:
    clips = [Utterance(str(seconds), str(write_clip(tmp_path / f"{seconds}.wav", seconds))) for seconds in (0.3, 0.7)]
    write_manifest(tmp_path / "m.jsonl", clips)
    mixture = read_voice_mixture({"a": MixturePart(str(tmp_path / "m.jsonl"))})
    assert ([row.id for row in mixture.rows], mixture.dropped) == (["0.7"], {"not within 0.5 and 30 s": 1})


def test_codes_that_a_row_lacks_are_found_by_the_tokenizer(codec: Path, rows: Path) -> None:
    mixture = read_voice_mixture({"a": MixturePart(str(rows))})
    batch = VoiceCollator(mixture.rows, ClipAudio(), Listener(codec))([Pick(0, 1), Pick(1, 2)])
    codes = load_voice_encoder(codec).codes(mixture.rows[1].path)  # type: ignore[union-attr]
    assert batch["codes"][0, :15].tolist() == list(range(15))
    assert batch["code_lengths"].tolist() == [15, len(codes)]
    assert batch["mel_piece"].shape[-1] * 256 == batch["wave_piece"].shape[-1] == 32 * 256


def test_a_piece_of_mel_is_that_of_its_wave(codec: Path, rows: Path) -> None:
    mixture = read_voice_mixture({"a": MixturePart(str(rows))})
    listener = Listener(codec)
    batch = VoiceCollator(mixture.rows, ClipAudio(), listener)([Pick(1, 5)])
    alone = log_magnitude_mel(batch["wave_piece"], listener.encoder.config.mel)
    inside = slice(2, -2)  # the edges see what is around the piece
    torch.testing.assert_close(alone[..., inside], batch["mel_piece"][..., inside])


def test_the_loops_flow_loss_is_the_flows(codec: Path, rows: Path) -> None:
    """Which tests/speech/test_flow.py holds to the original's value."""
    mixture, model = read_voice_mixture({"a": MixturePart(str(rows))}), VoiceModel.from_folder(codec)
    batch = VoiceCollator(mixture.rows, ClipAudio(), Listener(codec))([Pick(0, 1), Pick(1, 2)])
    draws = FlowDraws.sample(batch["mel"], torch.Generator().manual_seed(1))
    names = ("codes", "code_lengths", "mel", "mel_lengths", "speaker")
    mean = model.flow.loss(FlowBatch(*(batch[name] for name in names)), draws)
    loss, flow, *others = (VoiceLosses(model, "flow", VoiceOptions())(batch) / VoiceLosses.counts(batch)).tolist()
    assert loss == flow == pytest.approx(mean.item())
    assert others == [0, 0, 0, 0]


def test_a_run_that_was_stopped_continues_to_the_same_bits(config: TrainConfig, tmp_path: Path) -> None:
    config = replace(config, steps=2, save_every=1)
    whole = Trainer(config).run()
    half = replace(config, out=str(tmp_path / "half"))
    Trainer(replace(half, steps=1)).run()
    continued = Trainer(half).run()
    for name in (*PARTS, "training_state.safetensors"):
        one, other = load_file(whole / name), load_file(continued / name)
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one), name


@pytest.mark.parametrize(("learn", "moved"), [("flow", {PARTS[0]}), ("vocoder", {PARTS[1]})])
def test_only_what_learns_moves(config: TrainConfig, codec: Path, learn: str, moved: set[str]) -> None:
    last = Trainer(replace(config, steps=1, learn=learn)).run()
    pairs = {name: (load_file(codec / name), load_file(last / name)) for name in PARTS}
    changed = {
        name for name, (one, other) in pairs.items() if any(not torch.equal(one[key], other[key]) for key in one)
    }
    assert changed == moved
    pitch = [key for key in pairs[PARTS[1]][0] if key.startswith("f0_predictor")]
    assert pitch and all(torch.equal(*(held[key] for held in pairs[PARTS[1]])) for key in pitch)


def test_a_checkpoint_is_validated_and_speaks(config: TrainConfig, rows: Path) -> None:
    last = Trainer(replace(config, steps=1, valid=str(rows))).run()
    rows_of_log = [json.loads(line) for line in (Path(config.out) / "log.jsonl").read_text().splitlines()]
    assert next(row["valid"]["flow"] for row in rows_of_log if "valid" in row) > 0
    model = load_synthesizer(last)
    voice = Voice(model.name, torch.empty(0, dtype=torch.long), torch.empty(80, 0), torch.ones(192))
    assert len(model.synthesize([1, 2, 3], voice)) == model.flow.num_frames(3) * 256  # type: ignore[union-attr]


def test_the_flow_learns_few_clips(config: TrainConfig) -> None:
    plain = replace(config, learn="flow", steps=10, learning_rate=1e-2, save_every=10, valid="")
    Trainer(plain).run()
    losses = [row["flow"] for row in logged(plain.out)]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])


def test_the_vocoders_mel_comes_closer(codec: Path, rows: Path) -> None:
    mixture, model = read_voice_mixture({"a": MixturePart(str(rows))}), VoiceModel.from_folder(codec)
    batch = VoiceCollator(mixture.rows, ClipAudio(), Listener(codec))([Pick(0, 1), Pick(1, 2)])
    objective = VoiceLosses(model, "vocoder", VoiceOptions(adversarial=0))
    optimizer = torch.optim.AdamW(model.vocoder.parameters(), lr=1e-3)
    losses = []
    for _ in range(10):
        loss, _, mel, *_ = objective(batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.vocoder.parameters(), 1.0)
        optimizer.step()
        losses.append(mel.item())
    assert losses[-1] < 0.95 * losses[0], losses


def test_without_judges_no_other_loss_counts(config: TrainConfig, codec: Path) -> None:
    alone = replace(config, learn="vocoder", voice=VoiceOptions(adversarial=0))
    assert VoiceLosses.shown(alone) == ("loss", "mel")
    assert VoiceLosses.of(VoiceModel.from_folder(codec), None, alone).adversary is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "bfloat16"}, "a voice learns whole, in float32, by its losses; set dtype=float32"),
        ({"answered_clips": 3}, "set dtype=float32 shard=false encoder_copies=0 answered_clips=0"),
        ({"learn": "full"}, "nothing is left to learn"),
        ({"model": "preset:nano"}, "kind voice begins with a folder that osum convert has made"),
    ],
)
def test_what_a_voice_does_not_have_is_one_line(config: TrainConfig, changes: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Trainer(replace(config, **changes))  # type: ignore[arg-type]


def test_the_recipe_can_be_read() -> None:
    (config,) = read_recipe(ROOT / "recipes/dialogue_voice.yaml", [])
    assert (config.kind, config.learn, config.dtype) == ("voice", "flow", "float32")
