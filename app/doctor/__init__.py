"""``clinvk doctor``: what is there, what is wrong, and what mends it.

``findings`` is what a report is made of, ``backends`` looks at the CLIs, ``surroundings`` at configuration, folders and
server, ``examine`` puts the report together, ``text`` shows it; ``cli`` has the grammar.
"""
