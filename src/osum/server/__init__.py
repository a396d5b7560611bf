"""The engine and dialogue over HTTP, and the studio page."""
