"""The network: embeddings → blocks → head, with depth a constructor argument."""
