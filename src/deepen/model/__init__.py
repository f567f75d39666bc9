"""The network: embeddings → blocks → head. The depth is an argument, so that a run can grow."""
