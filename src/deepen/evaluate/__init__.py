"""Evaluate a language model: validation loss, and tasks with an answer to each example."""
