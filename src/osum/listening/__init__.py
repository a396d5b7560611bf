"""Sound in, `Utterance`s out: voice activity, windows, readers, merging, and the `Recognizer`."""
