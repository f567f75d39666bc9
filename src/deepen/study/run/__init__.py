"""Running a study: scheduling its segments, training each in some process, one writer for each segment."""
