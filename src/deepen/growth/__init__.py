"""How a training state becomes deeper: pure functions on named tensors, for weights and moments together."""
