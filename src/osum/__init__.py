"""osum: speech understanding and empathetic spoken dialogue."""
