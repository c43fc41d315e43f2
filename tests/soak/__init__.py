"""Hours of mixed load in minutes: does a server that runs for long stay as it was?  ``make soak``."""
