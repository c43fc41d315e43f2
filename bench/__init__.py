"""Figures: what the server adds to a CLI, and what it takes.  ``make bench`` prints them and keeps them."""
