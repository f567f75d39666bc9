"""Training states on disk, written completely and verified before use."""
