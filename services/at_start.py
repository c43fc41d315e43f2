"""Processes that the configuration wants to wait for a prompt as soon as the server is there."""

import logging
from dataclasses import replace

from services.errors import ClinvkError
from services.prompts import Prompt
from services.session_runs import SessionRuns
from services.settings import Config, WarmStart

log = logging.getLogger(__name__)


def prepare_at_start(sessions: SessionRuns, config: Config) -> None:
    """Start what ``server.warm_at_start`` lists, from its top as far as ``server.warm_processes`` allows it."""
    room = config.server.warm_processes
    for number, wanted in enumerate(config.server.warm_at_start):
        count = min(wanted.count, room)
        room -= count
        try:
            for _ in range(count):
                sessions.prepare(prompt_like(wanted, chat_has_tools=config.sdk.tools == "cli"))
        except ClinvkError as error:
            log.warning("server.warm_at_start[%d]: %s", number, error.message)


def prompt_like(wanted: WarmStart, *, chat_has_tools: bool) -> Prompt:
    """A prompt as the API would make it of a request: only what is known before it counts, its text does not."""
    prompt = Prompt(wanted.backend, "in advance", model=wanted.model, max_tokens=wanted.max_tokens)
    if wanted.api == "native":
        return replace(prompt, ephemeral=wanted.ephemeral, system_prompt=wanted.system_prompt)
    as_model = not chat_has_tools
    return replace(
        prompt,
        ephemeral=True,
        chat=True,
        as_model=as_model,
        system_prompt=wanted.system_prompt if as_model else "",
        append_system_prompt="" if as_model else wanted.system_prompt,
    )
