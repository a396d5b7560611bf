"""Engine and dialogue over HTTP, in the wire formats of stock clients, and the studio page; imports nothing."""
