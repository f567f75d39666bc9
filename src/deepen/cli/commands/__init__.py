"""One module a command: `run(request)` carries a request out, prints the result and returns the exit code."""
