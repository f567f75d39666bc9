"""One file per command: carry out a request and print the result."""
