"""The page, figure and table of a map."""
