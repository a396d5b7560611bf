"""Released checkpoints and Hugging Face parts to ours, and back."""

from osum.checkpoints.convert.convert import ConversionReport, convert
from osum.checkpoints.convert.original import to_original
from osum.checkpoints.convert.parts import from_parts
from osum.checkpoints.convert.tokenizer import add_tokenizer

__all__ = ["ConversionReport", "add_tokenizer", "convert", "from_parts", "to_original"]
