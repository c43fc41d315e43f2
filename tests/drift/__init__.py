"""Has a newer command line drifted away from what clinvk knows of it?

``make drift`` installs the newest CLIs into an ignored folder and talks with each through a real ``clinvk serve`` and
the fake model server, in the same scenarios in which the pinned version was recorded
(``tests/recordings/<cli>/<version>/drift``).  Two things are compared: what clients get, which must be equal, and the
shape of what the CLI printed: which kinds of lines, with which fields of which JSON type, in which order.

    tap         stands in PATH for a CLI, runs it and writes down both sides of the talk
    scenarios   what is asked through the server, and the answer reduced to what must not change
    trial       all scenarios with one program
    recording   one scenario, as a file;  normal: without ids, times, places and counts of the day
    shape       of a recording;  comparison: of two;  known: what clinvk reads of a CLI
    npm         the newest versions;  table: for people
"""
