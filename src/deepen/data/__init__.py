"""Data: text becomes token shards, and shards become batches."""
