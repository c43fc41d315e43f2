"""A command line that answers like an AI's and is none, for trying the server without an account.

It reads one line of JSON, ``{"prompt", "model", "system", "max_tokens"}``, and prints lines of JSON: ``ready``,
``text`` for each word, ``end`` with the usage.  A token is a word.  It is run as a program of its own by the bare
interpreter, so it starts in some 20 ms and imports little.
"""

import json
import signal
import sys
import time

VERSION = "1.0.0"
MODEL = "demo"
WORD_S = 0.02
"""The pace of the answer, so that a stream can be seen to stream."""
ECHOED_WORDS = 8
EXIT_BAD_INPUT = 2


def answer(prompt: str, model: str, system: str) -> str:
    """What there is to say."""
    words = prompt.split(None, ECHOED_WORDS)
    beginning = " ".join(word[:40] for word in words[:ECHOED_WORDS])
    more = " ..." if len(words) > ECHOED_WORDS else ""
    parts = [
        "This is the demo backend: a small program, not an AI, and no model has read your prompt.",
        f'It has {len(prompt)} characters and begins: "{beginning}{more}".',
    ]
    if system:
        parts.append(f"The system prompt has {len(system)} characters.")
    if model != MODEL:
        parts.append(f'You asked for the model "{model}"; nobody was asked.')
    parts.append("Switch on claude, codex or gemini for real answers.")
    return " ".join(parts)


def say(**fields: object) -> None:
    """Print one line of JSON at once."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def converse(asked: dict[str, object]) -> None:
    """Answer one prompt, word by word."""
    prompt, system = str(asked["prompt"]), str(asked.get("system", ""))
    model = str(asked.get("model") or MODEL)
    limit = int(str(asked.get("max_tokens") or 0))
    say(type="ready", model=model)
    words = answer(prompt, model, system).split(" ")
    spoken = words[:limit] if limit else words
    for index, word in enumerate(spoken):
        time.sleep(WORD_S if index else 0)
        say(type="text", text=f" {word}" if index else word)
    say(
        type="end",
        stop="max_tokens" if len(spoken) < len(words) else "end_turn",
        usage={"input": len(prompt.split()) + len(system.split()), "output": len(spoken)},
    )


def main(arguments: list[str]) -> int:
    """Answer the line on stdin; no line is no error."""
    if arguments == ["--version"]:
        print(VERSION)
        return 0
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody reads any more: end, without a traceback
    line = sys.stdin.buffer.readline()
    if not line:
        return 0
    try:
        asked = json.loads(line)
        converse(asked)
    except (ValueError, KeyError, TypeError) as error:
        print(f"demo: cannot read what was asked: {error!r}", file=sys.stderr)
        return EXIT_BAD_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
