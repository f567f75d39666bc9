"""What is trained and when: phases, partitions, learning rates, and the recipes of the literature."""
