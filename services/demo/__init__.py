"""The program that the backend ``demo`` runs: it is in :mod:`services.demo.program`, and imports nothing of ours."""

from importlib.resources import files

PROGRAM = str(files(__name__) / "program.py")
"""Where the program is."""
