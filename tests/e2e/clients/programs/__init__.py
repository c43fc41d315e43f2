"""Small programs that ask clinvk with one client library each, as a user of the library would.

They run in processes of their own, some in other virtual environments, so they import nothing but
:mod:`tests.e2e.clients.programs.serving` and their library.
"""
