"""What `--keep` may say; apart from retention.py, so that reading a request needs no torch."""

KEEPS = {
    "last": "states at the marks, and what is still needed",
    "forks": "also those from which more than one segment starts",
    "all": "every segment's final state",
}
"""No part of a study's identity: it may be another one at each run of the same folder."""
