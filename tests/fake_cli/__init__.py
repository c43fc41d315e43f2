"""A real program that stands in for ``claude``, ``codex``, ``gemini`` or any other command line.

It speaks each CLI's own protocol on stdin and stdout, so that the server's real backends and its real process
engine are tested with it.  :func:`tests.fake_cli.install.install` puts it into a folder under any name.  It starts
in a few hundredths of a second: it imports nothing that is slow to load, and runs without the site packages.

What it does is chosen by words in the prompt; they may be combined:

    FAKE:n=20             number of text pieces after the first (default 3)
    FAKE:delay=0.05       seconds before each piece
    FAKE:first=1.5        seconds before the answer begins
    FAKE:stamp            each piece is the time it was written (`t<time.monotonic_ns()> `)
    FAKE:flood=32000000   that many bytes of numbered pieces, as fast as they go; FAKE:piece=1000 sets their size
    FAKE:bigline=12000000 one piece of that many characters
    FAKE:utf8             characters of two to four bytes, written so that the writes end inside of them
    FAKE:think            reasoning before the answer (where the CLI shows it)
    FAKE:tool             really runs a shell command, FAKE:cmd="sleep 60", in a session of its own
    FAKE:approve          asks the client's approval first (codex, gemini --acp); the answer tells the decision
    FAKE:env, argv, cwd   the answer tells the program's environment, arguments and folder
    FAKE:stderr=200000    that many bytes on stderr first

    FAKE:401 … 529        the provider's failure with that status, as the CLI reports it
    FAKE:toolong          the provider says that the context is too long
    FAKE:silent           ends at once with exit code 0 and prints nothing
    FAKE:garbage          prints lines that no protocol knows and ends with exit code 0
    FAKE:noise            prints such lines among a good answer
    FAKE:noend            the whole answer, exit code 0, but not the final event
    FAKE:hang             half of the answer, then nothing; an interrupt is obeyed
    FAKE:die=9            half of the answer, then ended by that signal; FAKE:exit=3: by that exit code
    FAKE:early            die, exit and hang come before the first piece
    FAKE:endcode=3        a good answer with its final event, then that exit code
    FAKE:ignore-term      deaf to SIGTERM, SIGINT, interrupts and the end of stdin
    FAKE:readstdin=0.01   seconds between reads of 64 KiB of stdin, as soon as this word has been read

    FAKE:child=FILE       starts a `sleep` whose pid is written to FILE
    FAKE:grandchild=FILE  the same in a session of its own
    FAKE:orphan=FILE      the same in a session of its own, re-parented
    FAKE:emptyenv         these children have an empty environment
    FAKE:holdpipe         these children keep stdout and stderr open

The same words can be given for every start at installation; two more then act before there is a prompt:
``FAKE:startdelay=1`` and ``FAKE:startexit=3``.

The answer says what was seen: ``fake-cli name=claude turn=1 chars=5 sha256=… model=m sys=0 sys_sha256=… | w0 w1 w2``
(see :func:`tests.fake_cli.install.seen`).  Every start is noted in a file beside the program.
"""
