"""A study on disk: its folder, a folder per segment, which states stay, and repair."""
