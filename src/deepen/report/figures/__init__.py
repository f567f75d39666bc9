"""Figures of results and plans: static, and as JSON for the page."""
