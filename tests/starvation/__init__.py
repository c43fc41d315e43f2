"""Clients that try to starve a server, each kind by itself, and what it does to everybody else."""
