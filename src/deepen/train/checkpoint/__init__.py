"""Training states on disk, written whole and verified before use."""
