"""The steps that come with osum. Importing this registers them."""

from osum.pipeline.steps import filters, sound

__all__ = ["filters", "sound"]
