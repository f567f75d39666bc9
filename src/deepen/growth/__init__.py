"""How a state becomes deeper: pure functions on named tensors, weights and moments together."""
