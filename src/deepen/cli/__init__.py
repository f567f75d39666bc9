"""The commands, one file each, thin: read the request, call the library, print the result last."""
