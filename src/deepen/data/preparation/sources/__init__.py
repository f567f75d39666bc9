"""Sources of text: files and folders, and datasets of the Hugging Face Hub."""
