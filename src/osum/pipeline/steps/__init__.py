"""The steps that come with osum. Importing this registers them."""

from osum.pipeline.steps import asking, copies, events, filters, sound, writing

__all__ = ["asking", "copies", "events", "filters", "sound", "writing"]
