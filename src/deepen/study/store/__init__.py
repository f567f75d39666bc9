"""A study on disk: its folder, one folder per segment, the writer lock, retention, repair."""
