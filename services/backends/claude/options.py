"""The options of a run that reach claude by another way than a flag of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.backends.base import Options

MODEL_FLAG = "--model"
SYSTEM_FLAG = "--system-prompt"
APPEND_FLAG = "--append-system-prompt"
EXTRA_FLAGS = {
    "--model": True,
    "--verbose": False,
    "--max-turns": True,
    "--system-prompt": True,
    "--append-system-prompt": True,
    "--permission-mode": True,
    "--allowed-tools": True,
    "--allowedTools": True,
    "--disallowed-tools": True,
    "--effort": True,
    "--fallback-model": True,
    "--max-budget-usd": True,
}
"""What a request may add in ``extra``, and whether a value follows."""
FLAGS_OF_A_MODEL = {"--betas", "--effort", "--fallback-model", "--max-budget-usd", "--model", "--settings"}
"""What counts of the extra flags where claude is a model: the others are about its tools and what it tells the model.

``--settings`` is how an operator's own login (``apiKeyHelper``, ``env``) gets past the settings files, which are not
read then.
"""

Variables = tuple[tuple[str, str], ...]


def guards(options: Options) -> Variables:
    """The variables that keep a prompt a text, and a failure quick.

    Without attachments claude reads no file that a prompt names by ``@path``.  In the environment of the process they
    are not safe: a ``.claude/settings.json`` in the folder of the run, even one that appears later, wins over it.
    """
    return (("CLAUDE_CODE_DISABLE_ATTACHMENTS", "1"), ("CLAUDE_CODE_MAX_RETRIES", str(options.max_retries)))


def environment(options: Options) -> Variables:
    """The environment of the process.

    claude would keep a memory for a folder that nobody comes back to once the run or its session is gone.  A model has
    none, and reads no ``CLAUDE.md``, not even that of the machine's administrator.
    """
    forgetful = (("CLAUDE_CODE_DISABLE_AUTO_MEMORY", "1"),) if options.is_private or options.as_model else ()
    unread = (("CLAUDE_CODE_DISABLE_CLAUDE_MDS", "1"),) if options.as_model else ()
    return (*guards(options), *forgetful, *unread, ("DISABLE_AUTOUPDATER", "1"))


@dataclass(frozen=True, slots=True)
class Extra:
    """The extra flags of a run.  System prompts are taken out: everybody on the machine can read a command line."""

    flags: tuple[str, ...] = ()
    system_prompt: str = ""
    append_system_prompt: str = ""


def split_extra(options: Options) -> Extra:
    """Sort the extra flags, given as ``--flag value`` or ``--flag=value``.

    Those of a request were checked before; those of the configuration may be any, also with several values.
    """
    flags: list[str] = []
    prompts = {SYSTEM_FLAG: "", APPEND_FLAG: ""}
    for flag, value in _pairs(options.extra):
        if options.as_model and flag not in FLAGS_OF_A_MODEL:
            continue
        if flag in prompts:
            prompts[flag] = value
        else:
            flags.append(f"{flag}={value}" if value else flag)
    return Extra(tuple(flags), prompts[SYSTEM_FLAG], prompts[APPEND_FLAG])


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each flag with its value ("" for none), once for each of several values."""
    flag, open_flag = "", False
    for word in words:
        if word.startswith("-") and not (open_flag and EXTRA_FLAGS.get(flag)):
            if open_flag:
                yield flag, ""
            flag, separator, value = word.partition("=")
            open_flag = not separator
            if separator:
                yield flag, value
        elif flag:
            yield flag, word
            open_flag = False
    if open_flag:
        yield flag, ""


def model_of(options: Options) -> str:
    """The model that is asked, "" for claude's default: of several flags the last one counts."""
    models = [value for flag, value in _pairs(options.extra) if flag == MODEL_FLAG]
    return models[-1] if models else options.model


def system_prompts(options: Options) -> dict[str, str]:
    """The fields of the ``initialize`` request that set the system prompt; none when there is nothing to say."""
    extra = split_extra(options)
    replacing = extra.system_prompt or options.system_prompt
    appended = "\n\n".join(filter(None, (options.append_system_prompt, extra.append_system_prompt)))
    fields = {"systemPrompt": replacing, "appendSystemPrompt": appended}
    return {name: value for name, value in fields.items() if value}
