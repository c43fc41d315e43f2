"""The options of a run that reach claude by another way than a flag of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.backends.base import Options

SYSTEM_FLAG = "--system-prompt"
APPEND_FLAG = "--append-system-prompt"


Variables = tuple[tuple[str, str], ...]


def guards(options: Options) -> Variables:
    """The variables that keep a prompt a text, and a failure quick.

    Without attachments claude reads no file that a prompt names by ``@path``.
    """
    return (("CLAUDE_CODE_DISABLE_ATTACHMENTS", "1"), ("CLAUDE_CODE_MAX_RETRIES", str(options.max_retries)))


def settings(variables: Variables) -> Mapping[str, Mapping[str, str]]:
    """The variables as settings of claude's command line, which no file can undo.

    The process's environment alone does not do: a ``.claude/settings.json`` in the folder of the run wins over it.
    """
    return {"env": dict(variables)}


def limits(options: Options) -> Variables:
    """The variables that can be told after the process was started."""
    return (("CLAUDE_CODE_MAX_OUTPUT_TOKENS", str(options.max_tokens)),) if options.max_tokens else ()


@dataclass(frozen=True, slots=True)
class Extra:
    """The extra flags of a run.  System prompts are taken out: everybody on the machine can read a command line."""

    flags: tuple[str, ...] = ()
    system_prompt: str = ""
    append_system_prompt: str = ""


def split_extra(words: Sequence[str]) -> Extra:
    """Sort extra flags, given as ``--flag value`` or ``--flag=value``, each of them checked before."""
    flags: list[str] = []
    prompts = {SYSTEM_FLAG: "", APPEND_FLAG: ""}
    for flag, value in _pairs(words):
        if flag in prompts:
            prompts[flag] = value or ""
        else:
            flags.append(flag if value is None else f"{flag}={value}")
    return Extra(tuple(flags), prompts[SYSTEM_FLAG], prompts[APPEND_FLAG])


def _pairs(words: Sequence[str]) -> list[tuple[str, str | None]]:
    pairs: list[tuple[str, str | None]] = []
    for word in words:
        if word.startswith("-"):
            flag, separator, value = word.partition("=")
            pairs.append((flag, value if separator else None))
        elif pairs:
            pairs[-1] = (pairs[-1][0], word)
    return pairs


def system_prompts(options: Options) -> dict[str, str]:
    """The fields of the ``initialize`` request that set the system prompt; none when there is nothing to say."""
    extra = split_extra(options.extra)
    replacing = extra.system_prompt or options.system_prompt
    appended = "\n\n".join(filter(None, (options.append_system_prompt, extra.append_system_prompt)))
    fields = {"systemPrompt": replacing, "appendSystemPrompt": appended}
    return {name: value for name, value in fields.items() if value}
