"""What is trained, when: phases, partitions, rates, and the recipes of the literature."""
