"""Train one model with many processes: replicated (DDP) or sharded (FSDP2), led by rank 0."""
