"""Command lines read into typed requests; every problem is reported at once. Needs no torch."""
