"""A study on disk: its folder, a folder for each segment, the writer lock, retention, repair."""
