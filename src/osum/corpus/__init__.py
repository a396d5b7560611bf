"""Data on disk: manifests of any project, shards, packed audio, validation, statistics."""
