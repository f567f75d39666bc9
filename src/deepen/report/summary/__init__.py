"""Results averaged over seeds: what the page, the figures and the sentences show."""
