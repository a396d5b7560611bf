"""Released checkpoints and Hugging Face parts to ours, and back."""

from osum.conversion.convert import ConversionReport, convert
from osum.conversion.original import to_original
from osum.conversion.parts import from_parts
from osum.conversion.tokenizer import add_tokenizer

__all__ = ["ConversionReport", "add_tokenizer", "convert", "from_parts", "to_original"]
