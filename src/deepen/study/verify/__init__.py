"""Training a segment of a study again, to see whether its recorded losses can be reproduced."""
