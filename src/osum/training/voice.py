"""Training what speaks codes: the flow, the vocoder, or both, of a speech model's folder (`kind: voice`).

Rows are speech of any speaker: replies of dialogues with a recording and codes, or utterances, whose codes the model's
own tokenizer finds. The tokenizer and the speaker encoder never learn. Knows nothing of language models.
Shapes: B clips, N codes, M mel bins, F frames, S samples, E speaker vector.
"""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from osum.audio import SAMPLE_RATE
from osum.corpus.clips import ClipAudio
from osum.corpus.dialogue_forms import DialogueManifest
from osum.corpus.dialogues import Dialogue
from osum.errors import AudioError, RecipeError
from osum.speech.adversary import Adversary, AdversaryConfig
from osum.speech.checkpoint import load_part, load_voice_encoder, read_config, weights_file, write_config
from osum.speech.cosyvoice import CosyVoiceConfig
from osum.speech.features import log_magnitude_mel, resample
from osum.speech.flow import Flow, FlowBatch, FlowDraws
from osum.speech.vocoder import Vocoder
from osum.speech.voice_encoder import VoiceEncoder, speaker_vector
from osum.tasks import TaskSet
from osum.training.batch import Pick
from osum.training.config import MixturePart, TrainConfig, VoiceOptions
from osum.training.learn import parts_of
from osum.training.mixture import Mixture
from osum.training.objective import Losses
from osum.utterance import Utterance

log = logging.getLogger(__name__)
LEARNED, LISTENING = ("flow", "vocoder"), ("tokenizer", "speaker")
SHORTEST, LONGEST = 0.5, 30.0
"""Seconds of one clip."""
SEGMENT = 32
"""Mel frames that the vocoder sees of a clip (0.37 s), as HiFi-GAN does."""
MEL_WEIGHT, FEATURES_WEIGHT = 45.0, 2.0
"""Of the vocoder's losses next to the adversarial one (HiFi-GAN, equation 8)."""


class VoiceModel(nn.Module):
    """Flow and vocoder of a folder, as the loop trains and saves a model."""

    _no_split_modules: tuple[str, ...] = ()

    def __init__(self, config: CosyVoiceConfig) -> None:
        super().__init__()
        self.config = config
        self.flow = Flow(config.flow, config.mel)
        self.vocoder = Vocoder(config.vocoder, config.mel)

    @classmethod
    def from_folder(cls, folder: Path) -> VoiceModel:
        """The learning half of a speech model.

        Raises:
            RecipeError: a speech model of another kind.
            CheckpointError: no speech model.
        """
        config = read_config(folder)
        if not isinstance(config, CosyVoiceConfig):
            raise RecipeError(f"{folder} holds the real-time baseline, which does not learn: give a CosyVoice's folder")
        model = cls(config)
        load_part(model.flow, folder, "flow")
        load_part(model.vocoder, folder, "vocoder")
        return model

    def save_pretrained(self, folder: Path, state_dict: Mapping[str, Tensor]) -> None:
        """Write sizes and weights as `load_synthesizer` reads them."""
        write_config(self.config, folder)
        for part in LEARNED:
            own = {name.removeprefix(f"{part}."): value for name, value in state_dict.items() if name.startswith(part)}
            save_file({name: value.contiguous() for name, value in own.items()}, folder / weights_file(part))


class Listener:
    """The half of a speech model that listens; it never learns, so its files are copied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        encoder = load_voice_encoder(folder)
        assert isinstance(encoder, VoiceEncoder), "the folder of a CosyVoice"
        self.encoder = encoder
        self.files = {weights_file(part): (folder / weights_file(part)).read_bytes() for part in LISTENING}

    def save_pretrained(self, folder: Path) -> None:
        """Write tokenizer and speaker encoder."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


def read_voice_mixture(parts: Mapping[str, MixturePart]) -> Mixture[Utterance]:
    """Clips of speech, their codes in `extra` where the row has them; what is too short or too long is counted.

    Raises:
        InputError: a manifest cannot be read.
    """
    rows: list[tuple[Utterance, float, float]] = []
    dropped, clips = Counter[str](), ClipAudio()
    for part in parts.values():
        for line in DialogueManifest(Path(part.manifest)):
            for row in () if line.row is None else _speech_of(line.row):
                try:
                    seconds = clips.duration(row) if row.duration is None else row.duration
                except AudioError as fault:
                    log.warning("left out: %s: %s", line.place, fault)
                    dropped["audio that cannot be read"] += 1
                    continue
                if SHORTEST <= seconds <= LONGEST:
                    rows.append((row.with_(duration=seconds), part.weight, seconds))
                else:
                    dropped[f"not within {SHORTEST:g} and {LONGEST:g} s"] += 1
            dropped["broken line"] += line.row is None
    for reason, number in (+dropped).items():
        log.warning("left out, %s: %d rows", reason, number)
    kept, weights, seconds_of = zip(*rows, strict=True) if rows else ((), (), ())
    return Mixture(kept, weights, seconds_of, dict(+dropped))


def _speech_of(row: Dialogue | Utterance) -> list[Utterance]:
    """The clip of an utterance, or the replies of a dialogue that have a recording."""
    if isinstance(row, Utterance):
        return [row]
    found = []
    for number, turn in enumerate(row.turns[1::2], 1):
        if turn.audio is not None:
            clip = turn.clip(f"{row.id}, reply {number}")
            found.append(clip.with_(extra={**clip.extra, **({"codes": list(turn.codes)} if turn.codes else {})}))
    return found


class VoiceCollator:
    """Makes the tensors of one batch; runs in a worker process."""

    def __init__(self, rows: Sequence[Utterance], audio: ClipAudio, listener: Listener) -> None:
        self.data, self.audio, self.listener = rows, audio, listener

    def __call__(self, picks: Sequence[Pick]) -> dict[str, Any]:
        """Codes (B, N), mel (B, M, F), their lengths, speaker (B, E); a piece of mel and wave for the vocoder; `seed`.

        Where no clip can be read, a moment of silence stands in that no loss counts, and `ids` is empty.
        """
        clips: list[tuple[list[int], Tensor, Tensor]] = []
        ids: list[str] = []
        unread: list[str] = []
        for pick in picks:
            row = self.data[pick.index]
            try:
                clips.append(self._clip(row))
                ids.append(row.id)
            except AudioError as fault:
                unread.append(str(fault))
        config = self.listener.encoder.config
        clips = clips or [([0], torch.zeros(config.flow.speaker_size), torch.zeros(config.mel.sampling_rate))]
        rng = random.Random(f"segments/{picks[0].seed}")
        mels = [log_magnitude_mel(wave[None], config.mel)[0].T for _, _, wave in clips]  # (F, M)
        starts = [rng.randrange(max(1, len(mel) - SEGMENT + 1)) for mel in mels]
        hop = config.mel.hop_length
        pieces = [mel[start : start + SEGMENT] for mel, start in zip(mels, starts, strict=True)]
        waves = [wave[start * hop : (start + SEGMENT) * hop] for (_, _, wave), start in zip(clips, starts, strict=True)]
        return {
            "codes": nn.utils.rnn.pad_sequence([torch.tensor(codes) for codes, _, _ in clips], batch_first=True),
            "code_lengths": torch.tensor([len(codes) for codes, _, _ in clips]),
            "mel": nn.utils.rnn.pad_sequence(mels, batch_first=True).transpose(1, 2),
            "mel_lengths": torch.tensor([len(mel) for mel in mels]),
            "speaker": torch.stack([speaker for _, speaker, _ in clips]),
            "mel_piece": nn.utils.rnn.pad_sequence(pieces, batch_first=True).transpose(1, 2),
            "wave_piece": nn.utils.rnn.pad_sequence(waves, batch_first=True),
            "seed": picks[0].seed,
            "ids": ids,
            "unread": unread,
        }

    def rows(self, _pick: Pick, _first: Pick, _seconds: float) -> tuple[int, int]:
        """Seconds alone bound a batch."""
        return 0, 0

    def _clip(self, row: Utterance) -> tuple[list[int], Tensor, Tensor]:
        """Codes, speaker vector and waveform (S,) at the mel's rate, S whole frames."""
        config = self.listener.encoder.config
        wave = torch.from_numpy(self.audio.read(row, rate=config.mel.sampling_rate))
        wave = wave[: len(wave) // config.mel.hop_length * config.mel.hop_length]
        listened = resample(wave[None], config.mel.sampling_rate, SAMPLE_RATE)[0]
        codes = row.extra.get("codes") or self.listener.encoder.codes_of(listened).tolist()
        wrong = next((code for code in codes if not 0 <= code < config.flow.num_codes), None)
        if wrong is not None:
            raise AudioError(f"{row.id}: code {wrong}, the model has codes 0 to {config.flow.num_codes - 1}")
        return codes, speaker_vector(self.listener.encoder.speaker, listened), wave


class VoiceLosses(Losses):
    """The flow's loss (token2wav 3), and the vocoder's: mel, judges, and the judges' own (HiFi-GAN).

    Args:
        model: what learns.
        learn: its parts.
        options: of the vocoder.
    """

    names = ("loss", "flow", "mel", "adversarial", "features", "judges")

    def __init__(self, model: VoiceModel, learn: str, options: VoiceOptions) -> None:
        super().__init__()
        self.model, self.parts = model, parts_of(learn)
        judged = "vocoder" in self.parts and options.adversarial > 0
        self.adversary = Adversary(AdversaryConfig(channels=options.judge_channels)) if judged else None
        judges = options.adversarial
        self.shares = (1.0, MEL_WEIGHT, judges, judges * FEATURES_WEIGHT, judges)

    @classmethod
    def of(cls, model: Any, _tasks: TaskSet, config: TrainConfig) -> VoiceLosses:
        """The losses of a run."""
        return cls(model, config.learn, config.voice)

    @staticmethod
    def weights(_config: TrainConfig) -> tuple[float, ...]:
        """`loss` is the weighted sum; the others are reported."""
        return 1.0, 0.0, 0.0, 0.0, 0.0, 0.0

    @classmethod
    def shown(cls, config: TrainConfig) -> tuple[str, ...]:
        """Those of the parts that learn."""
        parts = parts_of(config.learn)
        judged = cls.names[3:] if config.voice.adversarial else ()
        return ("loss", *(["flow"] if "flow" in parts else []), *(("mel", *judged) if "vocoder" in parts else ()))

    @staticmethod
    def counts(batch: Mapping[str, Any]) -> Tensor:
        """(6,): the clips of a batch."""
        return torch.full((6,), float(len(batch["ids"])))

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """(6,): each mean loss, times the clips."""
        drawn = torch.Generator().manual_seed(batch["seed"])
        found = torch.stack([self._flow(batch, drawn), *self._vocoder(batch, drawn)])
        total = (found * found.new_tensor(self.shares)).sum()
        return torch.cat([total[None], found.detach()]) * len(batch["ids"])

    def _flow(self, batch: Mapping[str, Any], drawn: torch.Generator) -> Tensor:
        if "flow" not in self.parts:
            return batch["mel"].new_zeros(())
        names = ("codes", "code_lengths", "mel", "mel_lengths", "speaker")
        on_cpu = FlowDraws.sample(batch["mel"].cpu(), drawn)
        draws = FlowDraws(*(value.to(batch["mel"].device) for value in vars(on_cpu).values()))
        return self.model.flow.loss(FlowBatch(*(batch[name] for name in names)), draws)

    def _vocoder(self, batch: Mapping[str, Any], drawn: torch.Generator) -> list[Tensor]:
        nothing = batch["mel"].new_zeros(())
        if "vocoder" not in self.parts:
            return [nothing] * 4
        mel, real = batch["mel_piece"], batch["wave_piece"]
        made = self._speak(mel, drawn)[:, : real.shape[1]]
        whole = replace(self.model.config.mel, max_frequency=self.model.config.mel.sampling_rate / 2)
        verdict = [nothing] * 3 if self.adversary is None else self.adversary(real, made)
        return [functional.l1_loss(log_magnitude_mel(made, whole), log_magnitude_mel(real, whole)), *verdict]

    def _speak(self, mel: Tensor, drawn: torch.Generator) -> Tensor:
        """Mel (B, M, F) to waveforms (B, S), harmonics at random phases; F0 is read and does not learn."""
        vocoder, num_harmonics = self.model.vocoder, self.model.config.vocoder.num_harmonics + 1
        phases = (torch.rand(len(mel), num_harmonics, generator=drawn) * 2 - 1) * math.pi
        phases[:, 0] = 0
        noise = torch.randn(len(mel), num_harmonics, mel.shape[2] * self.model.config.mel.hop_length, generator=drawn)
        beginning = torch.zeros(len(mel), dtype=torch.float64, device=mel.device)
        with torch.no_grad():
            f0 = vocoder.f0(mel)
        source, _ = vocoder.m_source(f0, phases.to(mel), noise.to(mel), beginning)
        return vocoder.decode(mel, source)
