"""The steps that come with osum. Importing this registers them."""

from osum.pipeline.steps import asking, copies, empathy, events, filters, sound, speaking, writing

__all__ = ["asking", "copies", "empathy", "events", "filters", "sound", "speaking", "writing"]
