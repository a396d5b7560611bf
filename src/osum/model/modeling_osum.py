"""The model: encoder, adaptor and Qwen2, one class for OSUM, OSUM-EChat and our own family.

Knows nothing of tasks, templates or files. Shapes: B conversations, A audio clips of all of them,
M mel bins, F mel frames, T audio tokens, L sequence length, D LLM width, V text ids, S speech ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, GenerationMixin, PreTrainedModel, Qwen2Model
from transformers.cache_utils import Cache
from transformers.generation import LogitsProcessorList, RepetitionPenaltyLogitsProcessor, StoppingCriteriaList
from transformers.modeling_outputs import BaseModelOutputWithPast, ModelOutput

from osum.model import int8
from osum.model.adaptor import OsumAdaptor
from osum.model.answer_plan import AnswerPlan
from osum.model.configuration_osum import IGNORED, OsumConfig, audio_token_length, encoder_length
from osum.model.encoder import OsumEncoder, length_mask
from osum.model.planned_generation import Followed, PlannedEnd, PlannedScores


@dataclass
class OsumOutput(ModelOutput):
    """Loss over all scored positions, logits (B, L, V or V + S), and the cache."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class OsumPreTrainedModel(PreTrainedModel):
    """What every part agrees on: configuration class, attention backends, device placement."""

    config: OsumConfig
    config_class = OsumConfig
    base_model_prefix = "model"
    input_modalities = ("audio", "text")
    supports_gradient_checkpointing = True
    _no_split_modules = ["SpeechLayer", "Qwen2DecoderLayer"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As in transformers; a folder whose weights are stored in 8 bits is opened too."""
        folder = pretrained_model_name_or_path
        if folder is not None and "state_dict" not in kwargs and (Path(folder) / "base.json").is_file():
            raise OSError(f"{folder} leaves its language model out: open it with osum.load({str(folder)!r}, base=DIR)")
        state = int8.read(folder) if folder is not None and "state_dict" not in kwargs else None
        if state is None:
            return super().from_pretrained(folder, *args, **kwargs)
        config = kwargs.pop("config", None) or cls.config_class.from_pretrained(folder)
        generation = kwargs.pop("generation_config", None)
        made = super().from_pretrained(None, *args, config=config, state_dict=state, **kwargs)
        model = made[0] if isinstance(made, tuple) else made  # with what did not fit
        if model.can_generate():
            model.generation_config = generation or GenerationConfig.from_pretrained(folder)
        return made


class OsumModel(OsumPreTrainedModel):
    """Audio tower, adaptor and language model without a head."""

    def __init__(self, config: OsumConfig) -> None:
        super().__init__(config)
        width = config.text_config.hidden_size
        self.audio_tower = OsumEncoder._from_config(config.audio_config)
        self.adaptor = OsumAdaptor(config.adaptor_config, config.audio_config.hidden_size, width)
        self.language_model = Qwen2Model._from_config(config.text_config)
        self.speech_embedding = nn.Embedding(config.num_speech_rows, width)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.embed_tokens = value

    def get_encoder(self, modality: str | None = None) -> nn.Module:
        """The audio tower, whatever the modality."""
        return self.audio_tower

    def embed_ids(self, input_ids: Tensor) -> Tensor:
        """Joint ids (B, L) to embeddings (B, L, D); the audio placeholder gets some row, to be replaced."""
        num_text = self.config.text_config.vocab_size
        is_text = input_ids < num_text
        text = self.language_model.embed_tokens(torch.where(is_text, input_ids, 0))
        rows = (input_ids - num_text).clamp(0, self.config.num_speech_rows - 1)
        return torch.where(is_text[..., None], text, self.speech_embedding(rows).to(text.dtype))

    def encode_audio(
        self, input_features: Tensor, feature_attention_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Log-mel (A, M, F) and its mask (A, F) to embeddings (A, T', D) and lengths (A,)."""
        states, frames = self.encode_frames(input_features, feature_attention_mask)
        return self.adaptor(states, encoder_length(frames)), audio_token_length(frames)

    def encode_frames(
        self, input_features: Tensor, feature_attention_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Log-mel (A, M, F) and its mask (A, F) to the encoder's states (A, T, D) and feature frames (A,)."""
        if feature_attention_mask is None:
            lengths = input_features.new_full((len(input_features),), input_features.shape[-1], dtype=torch.long)
        else:
            lengths = feature_attention_mask.sum(-1)  # (A,)
        return self.audio_tower(input_features.to(self.audio_tower.conv1.weight.dtype), lengths), lengths

    def get_audio_features(
        self, input_features: Tensor, feature_attention_mask: Tensor | None = None, **_: Any
    ) -> tuple[Tensor, ...]:
        """One (T_i, D) tensor per clip, cut to its true length: what placeholders are replaced with."""
        embeddings, lengths = self.encode_audio(input_features, feature_attention_mask)
        return tuple(row[:length] for row, length in zip(embeddings, lengths.tolist(), strict=True))

    def embed_inputs(
        self,
        input_ids: Tensor,
        input_features: Tensor | None = None,
        feature_attention_mask: Tensor | None = None,
        audio_index: Tensor | None = None,
    ) -> Tensor:
        """Embeddings (B, L, D) of joint ids (B, L), the audio placeholders replaced in reading order.

        `audio_index` (N,) names the clip of each placeholder run, so that many questions about one
        clip share one pass of the encoder; without it each clip stands once, in order.

        Raises:
            ValueError: the number of placeholders is not the number of audio tokens.
        """
        if input_features is None:
            return self.embed_ids(input_ids)
        return self.place_audio(input_ids, *self.encode_audio(input_features, feature_attention_mask), audio_index)

    def place_audio(
        self, input_ids: Tensor, audio: Tensor, lengths: Tensor, audio_index: Tensor | None = None
    ) -> Tensor:
        """`embed_inputs` of clips that are encoded already: (A, T', D) and their lengths (A,), to (B, L, D)."""
        embeddings = self.embed_ids(input_ids)
        if audio_index is not None:
            audio, lengths = audio[audio_index], lengths[audio_index]  # (N, T, D), (N,)
        audio = audio[length_mask(lengths, audio.shape[1])]  # (sum T_i, D)
        holes = input_ids == self.config.audio_token_id  # (B, L)
        if (found := int(holes.sum())) != len(audio):
            raise ValueError(
                f"{found} audio placeholders for {len(audio)} audio tokens: build the inputs with OsumProcessor"
            )
        return embeddings.masked_scatter(holes[..., None], audio.to(embeddings.dtype))

    def forward(
        self,
        input_ids: Tensor | None = None,
        input_features: Tensor | None = None,
        feature_attention_mask: Tensor | None = None,
        audio_index: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Hidden states (B, L, D) after the final norm; give `input_ids` or `inputs_embeds`."""
        if inputs_embeds is None:
            if input_ids is None:
                raise ValueError("neither input_ids nor inputs_embeds was given: the model needs one of them")
            inputs_embeds = self.embed_inputs(input_ids, input_features, feature_attention_mask, audio_index)
        if position_ids is None and past_key_values is None and attention_mask is not None:
            position_ids = positions(attention_mask) if attention_mask.dim() == 2 else None
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            **kwargs,
        )


def positions(attention_mask: Tensor) -> Tensor:
    """(B, L) mask to position ids that count real tokens only, so padding on any side changes nothing.

    Masked positions get 1, as in the original: OSUM-EChat scores the token behind a masked one (echat 1.5).
    """
    return (attention_mask.long().cumsum(-1) - 1).masked_fill(attention_mask == 0, 1)


class OsumForConditionalGeneration(OsumPreTrainedModel, GenerationMixin):
    """Takes speech and text, answers in text (and, with `speech_output`, in speech ids).

    Example:
        >>> inputs = processor(text=prompts, audio=waveforms)
        >>> ids = model.generate(**inputs, max_new_tokens=64)
        >>> processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :])
    """

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}

    def __init__(self, config: OsumConfig) -> None:
        super().__init__(config)
        self.model = OsumModel(config)
        width = config.text_config.hidden_size
        self.lm_head: nn.Module = nn.Linear(width, config.text_config.vocab_size, bias=False)
        if config.speech_output:
            self.speech_head = nn.Linear(width, config.num_speech_ids)
        self.post_init()

    @property
    def num_text_ids(self) -> int:
        """Columns of the text head; speech ids follow."""
        return self.config.text_config.vocab_size

    @property
    def language_model(self) -> nn.Module:
        """The Qwen2 decoder without its head."""
        return self.model.language_model

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, value: nn.Module) -> None:
        self.lm_head = value

    def get_encoder(self, modality: str | None = None) -> nn.Module:
        """The audio tower, whatever the modality."""
        return self.model.audio_tower

    def embed_ids(self, input_ids: Tensor) -> Tensor:
        """See `OsumModel.embed_ids`."""
        return self.model.embed_ids(input_ids)

    def get_audio_features(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        """See `OsumModel.get_audio_features`."""
        return self.model.get_audio_features(*args, **kwargs)

    def compute_logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., D) to logits (..., V), or (..., V + S) where speech can be answered."""
        logits = self.lm_head(hidden)
        if not self.config.speech_output:
            return logits
        return torch.cat([logits, self.speech_head(hidden)], dim=-1)

    def forward(
        self,
        input_ids: Tensor | None = None,
        input_features: Tensor | None = None,
        feature_attention_mask: Tensor | None = None,
        audio_index: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: Any,
    ) -> OsumOutput:
        """Logits, and with `labels` the mean cross-entropy over the joint ids.

        Args:
            input_ids: (B, L) joint ids, audio placeholders included.
            input_features: (A, M, F) log-mel of every clip of the batch, in reading order.
            feature_attention_mask: (A, F) ones where frames are real.
            audio_index: (N,) clip of each placeholder run, where clips are shared (see `OsumModel.embed_inputs`).
            attention_mask: (B, L) ones where tokens are real; padding may stand anywhere.
            labels: (B, L) joint ids, -100 where nothing is learned; shifted inside.
            logits_to_keep: how many last positions to compute logits for; 0 means all.
            num_items_in_batch: scored tokens of the whole global batch, for accumulation and many ranks.
        """
        outputs = self.model(
            input_ids=input_ids,
            input_features=input_features,
            feature_attention_mask=feature_attention_mask,
            audio_index=audio_index,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.compute_logits(outputs.last_hidden_state[:, kept])
        loss = None if labels is None else next_token_loss(logits, labels, self.num_text_ids, num_items_in_batch)
        return OsumOutput(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        *,
        input_ids: Tensor | None = None,
        input_features: Tensor | None = None,
        feature_attention_mask: Tensor | None = None,
        audio_index: Tensor | None = None,
        logits_processor: LogitsProcessorList | None = None,
        plan: AnswerPlan | None = None,
        **kwargs: Any,
    ) -> Any:
        """`GenerationMixin.generate`, the audio encoded once whatever the number of beams.

        Returns the prompt's ids followed by the answer's, joint ids both. A repetition penalty counts the answer
        alone, as in the original (specification 1.7). With a `plan` the answer keeps to it and ends by it (echat 1.6).
        """
        input_ids = inputs if input_ids is None else input_ids
        if input_ids is None:
            return super().generate(logits_processor=logits_processor, **kwargs)
        if kwargs.get("attention_mask") is None:
            kwargs["attention_mask"] = torch.ones_like(input_ids)
        if kwargs.get("inputs_embeds") is None:
            kwargs["inputs_embeds"] = self.model.embed_inputs(
                input_ids, input_features, feature_attention_mask, audio_index
            )
        processors = LogitsProcessorList(logits_processor or [])
        config = kwargs.get("generation_config") or self.generation_config
        penalty = kwargs.pop("repetition_penalty", None) or config.repetition_penalty or 1.0
        if penalty != 1.0:
            processors.append(RepetitionPenaltyLogitsProcessor(penalty, prompt_ignore_length=input_ids.shape[1]))
            kwargs["repetition_penalty"] = 1.0
        if plan is not None:
            followed = Followed(plan, input_ids.shape[1])
            processors.append(PlannedScores(followed))
            criteria = StoppingCriteriaList([*kwargs.pop("stopping_criteria", ()), PlannedEnd(followed)])
            # An end that no head says: the plan ends answers, and `generate` pads behind them.
            kwargs |= {"stopping_criteria": criteria, "eos_token_id": self.config.audio_token_id}
        # Generation helpers index score tables by prompt ids; ids that no head answers get a stand-in for the call.
        answerable = torch.where(input_ids < self.config.vocab_size, input_ids, 0)
        output = super().generate(answerable, logits_processor=processors, **kwargs)
        sequences = output if isinstance(output, Tensor) else output.sequences
        sequences[:, : input_ids.shape[1]] = input_ids.repeat_interleave(len(sequences) // len(input_ids), dim=0)
        return output

    def _get_candidate_generator(self, *args: Any, **kwargs: Any) -> Any:
        """Prompt lookup may copy speech ids too, which stand behind the text vocabulary."""
        generator = super()._get_candidate_generator(*args, **kwargs)
        if hasattr(generator, "vocab_size"):
            generator.vocab_size = self.config.vocab_size
        return generator

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        inputs_embeds: Tensor | None = None,
        is_first_iteration: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Embed what assisted decoding appends to the prompt before the first step."""
        if is_first_iteration and inputs_embeds is not None and input_ids.shape[1] > inputs_embeds.shape[1]:
            draft = self.model.embed_ids(input_ids[:, inputs_embeds.shape[1] :])
            inputs_embeds = torch.cat([inputs_embeds, draft.to(inputs_embeds.dtype)], dim=1)
        return super().prepare_inputs_for_generation(
            input_ids, inputs_embeds=inputs_embeds, is_first_iteration=is_first_iteration, **kwargs
        )


def next_token_loss(logits: Tensor, labels: Tensor, num_text_ids: int, num_items: Tensor | int | None = None) -> Tensor:
    """Cross-entropy of (B, L, V + S) logits against (B, L) labels one to the right, mean over what is scored.

    With `num_items` the sum is divided by it, so that accumulated and many-rank batches give one loss.
    """
    targets = labels[:, 1:].to(logits.device)
    kept = targets != IGNORED
    # Float32, and only the scored rows: a vocabulary of 152,064 columns is most of the memory.
    scores = scored_columns(logits[:, :-1][kept].float(), targets, num_text_ids)
    loss = nn.functional.cross_entropy(scores, targets[kept], reduction="sum")
    return loss / (kept.sum().clamp(min=1) if num_items is None else num_items)


def scored_columns(scores: Tensor, targets: Tensor, num_text_ids: int) -> Tensor:
    """Scores (N, V + S) of the N kept positions of targets (B, L): rows without a speech id score text ids alone.

    An answer that says nothing aloud is never asked to choose between text and speech (echat 1.5).
    """
    if scores.shape[-1] == num_text_ids:
        return scores
    speaks = (targets >= num_text_ids).any(1)  # (B,)
    if not speaks.any():
        return scores[:, :num_text_ids]
    silent = (~speaks).repeat_interleave((targets != IGNORED).sum(1))  # (N,)
    speech = scores[:, num_text_ids:].masked_fill(silent[:, None], -torch.inf)
    return torch.cat([scores[:, :num_text_ids], speech], dim=-1)
