"""What a study found, and how, in sentences."""
