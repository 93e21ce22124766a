"""Jobs: what a worker does, from the queue to the result, and how people watch it."""
