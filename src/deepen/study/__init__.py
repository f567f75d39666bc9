"""Arms → tree of segments → store → results: the fair comparison."""
