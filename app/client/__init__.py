"""``clinvk prompt`` and ``clinvk compare``: thin clients of a running server, over its native API.

``cli`` has their grammar, ``address`` finds the server and the key, ``connection`` talks to it, ``commands`` does what
was typed, ``display`` and ``comparison`` show what comes.
"""
