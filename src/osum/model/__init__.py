"""The Hugging Face model; importing it registers the Auto classes."""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoProcessor
from transformers.models.auto import AutoModelForMultimodalLM

from osum.model.configuration_osum import OsumAdaptorConfig, OsumAudioConfig, OsumConfig
from osum.model.modeling_osum import OsumForConditionalGeneration, OsumModel
from osum.model.processing_osum import OsumProcessor

AutoConfig.register("osum", OsumConfig)
AutoModel.register(OsumConfig, OsumModel)
AutoModelForCausalLM.register(OsumConfig, OsumForConditionalGeneration)
AutoModelForMultimodalLM.register(OsumConfig, OsumForConditionalGeneration)
AutoProcessor.register(OsumConfig, OsumProcessor)

__all__ = [
    "OsumAdaptorConfig",
    "OsumAudioConfig",
    "OsumConfig",
    "OsumForConditionalGeneration",
    "OsumModel",
    "OsumProcessor",
]
