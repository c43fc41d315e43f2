"""The backend of a configured command."""

import re

from services.backends.base import Backend, Conversation, InRun, Options, PromptText, Spawn
from services.backends.custom.check import MAX_ARGUMENT_BYTES, problems
from services.backends.custom.output import JsonLinesConversation, TextConversation
from services.backends.custom.words import PROMPT_FILE, argument, chosen, filled, option_file
from services.settings import CustomCommand


class CustomBackend(Backend):
    """A CLI that the configuration describes.  Raises ValueError when the description has problems."""

    def __init__(self, name: str, command: CustomCommand) -> None:
        if found := problems(command):
            raise ValueError("; ".join(f"{problem.location}: {problem.message}" for problem in found))
        self.name = self.owner = name
        self.executable = command.command[0]
        self.install_hint = command.install_hint or f"install {self.executable} so that it is in the server's PATH"
        self.login_hint = command.login_hint
        self.environment = command.pass_env
        self.version_args = command.version_args
        self._command = command
        self._words = tuple(argument(word) for word in command.command)
        self._options_at = command.command.index("--") if "--" in command.command else len(command.command)
        self._refuses = tuple((re.compile(pattern), why) for pattern, why in command.refuses.items())
        self._readable_as_flag = False
        for index, word in enumerate(self._words):
            if isinstance(word, PromptText):
                self.max_prompt_bytes = MAX_ARGUMENT_BYTES - len(word.before.encode())
                self._readable_as_flag = not word.before and index < self._options_at

    def spawn(self, options: Options) -> Spawn:
        """The command with the arguments of the options: before a ``--``, else at the end."""
        arguments: list[str | InRun] = []
        environment: list[tuple[str, str | InRun]] = [
            (name, filled(word)) for name, word in self._command.environment.items()
        ]
        files: list[tuple[str, str | PromptText]] = list(self._command.files.items())
        if self._command.prompt_by == "file":
            files.append((PROMPT_FILE, PromptText()))
        warnings: list[str] = []
        for option, value in chosen(options):
            words = self._command.option_args.get(option)
            variables = self._command.option_env.get(option)
            if words is None and variables is None:
                if option != "max_retries":
                    warnings.append(self._unheeded(option, value))
                continue
            own = [filled(word, option, value) for word in words or ()]
            own_variables = [(name, filled(word, option, value)) for name, word in (variables or {}).items()]
            arguments += own
            environment += own_variables
            if InRun(option_file(option)) in (*own, *dict(own_variables).values()):
                files.append((option_file(option), value))
        arguments += options.extra
        return Spawn(
            argv=(*self._words[: self._options_at], *arguments, *self._words[self._options_at :]),
            cwd=options.workdir,
            environment=tuple(environment),
            files=tuple(files),
            leftovers=self._command.leftovers,
            in_advance=self._command.start_in_advance,
            warnings=tuple(warnings),
        )

    def objection(self, prompt: str) -> str:
        """Why the prompt would be a flag, or whatever else the configuration refuses."""
        if self._readable_as_flag and prompt.startswith("-"):
            return f"must not begin with '-': {self.name} gets it as an argument and would read it as a flag"
        return next((why for pattern, why in self._refuses if pattern.search(prompt)), "")

    def conversation(self, options: Options, prompt: str) -> Conversation:  # noqa: ARG002 - the spawn says it all
        """A conversation that reads text or JSON lines."""
        kind = TextConversation if self._command.output == "text" else JsonLinesConversation
        return kind(self.name, self._command, prompt)

    def _unheeded(self, option: str, value: str) -> str:
        name, _, mode = option.partition(".")
        match name:
            case "no_tools":
                return f"allowed_tools: {self.name} keeps all its tools"
            case "approval_mode" | "sandbox_mode":
                return f"{name}: {self.name} has no mode {mode!r}"
            case "system_prompt" | "append_system_prompt" | "verbose":
                return f"{name}: {self.name} has no such option"
            case _:
                return f"{name}: {self.name} has no such option, {value!r} is ignored"
