"""Running a study: scheduling its segments and training each in a process that owns it."""
