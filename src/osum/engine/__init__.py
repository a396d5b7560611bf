"""Ids in, ids out: the only caller of the model."""
