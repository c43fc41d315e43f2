"""Clients that people use, each against a real server: does everyone get the answer, the pieces, the error, the end?

``python -m tests.e2e.clients`` fills the table of ``docs/clients.md``.  A *client* is a row's library or program, a
*cell* what is tried with it: plain, stream, error or disconnect, with one backend.
"""
