"""Other people's formats and tools: Hugging Face checkpoints in and out, other training loops, trackers."""
