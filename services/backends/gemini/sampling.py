"""What gemini's settings put into its requests: how the model is to sample, and that it has no tools.

gemini resolves a model along a chain of aliases (``base``, ``chat-base``, ``chat-base-3``, ``gemini-3-flash-preview``),
and lays the overrides over that which match: those that name no alias first, then those of one, the model's own last.
What its own helpers ask, such as which model to take, is for no chat and stays as it is.
"""

from collections.abc import Mapping
from typing import Any

from services.backends.base import Options
from services.chat import Sampling

ANY = ""
THINKS_BY_LEVEL = "chat-base-3"
"""The alias of models that are told by a level how much to think, and refuse a request that has a budget as well."""
ALWAYS_THINKS = "gemini-2.5-pro"

HONOURS = frozenset({"temperature", "top_p", "top_k", "effort", "thinking_tokens"})

LEAST, LITTLE, SOME, MUCH = 128, 1024, 8192, 24576
EFFORTS = {
    "none": (LITTLE, "LOW"),
    "minimal": (LITTLE, "LOW"),
    "low": (LITTLE, "LOW"),
    "medium": (SOME, "MEDIUM"),
    "high": (MUCH, "HIGH"),
    "xhigh": (MUCH, "HIGH"),
    "max": (MUCH, "HIGH"),
}
"""The budget and the level for each word: what Google itself makes of them (ai.google.dev, "OpenAI compatibility")."""
BUDGETS = (512, MUCH)
"""From the least to the most that all models take which can be given a budget."""

A_TOOL = "list_directory"
"""The tool that is left where there is to be none.

Google's API refuses an empty list of tools, which is what gemini would send.  The model may not call this one, and
where gemini speaks to that API itself, with a key, the list goes out of the request altogether.  With a login of
Google's it sends its requests elsewhere, and only says that no tool may be called.
"""


def overrides(options: Options) -> list[dict[str, Any]]:
    """The overrides of the models' configurations."""
    by_alias: dict[str, dict[str, Any]] = {ANY: _sampled(options.sampling)}
    if options.max_tokens:
        by_alias[ANY]["maxOutputTokens"] = options.max_tokens
    if options.allowed_tools == ():
        by_alias[ANY] |= _without_tools(options)
    for alias, thinking in _thinking(options.sampling).items():
        by_alias.setdefault(alias, {})["thinkingConfig"] = thinking
    return [
        {
            "match": {"isChatModel": True, **({"model": alias} if alias else {})},
            "modelConfig": {"generateContentConfig": config},
        }
        for alias, config in by_alias.items()
        if config
    ]


def _sampled(sampling: Sampling) -> dict[str, Any]:
    fields = {"temperature": sampling.temperature, "topP": sampling.top_p, "topK": sampling.top_k}
    return {name: value for name, value in fields.items() if value is not None}


def _thinking(sampling: Sampling) -> Mapping[str, dict[str, Any]]:
    """How much the model is to think, by alias; a budget that is given goes before a word."""
    tokens = sampling.thinking_tokens
    if tokens == 0:
        return {
            ANY: {"thinkingBudget": 0, "includeThoughts": False},
            THINKS_BY_LEVEL: {"thinkingBudget": None, "thinkingLevel": "LOW"},
            ALWAYS_THINKS: {"thinkingBudget": LEAST},
        }
    if tokens is not None:
        least, most = BUDGETS
        return {ANY: {"thinkingBudget": max(least, min(tokens, most))}, THINKS_BY_LEVEL: {"thinkingLevel": None}}
    if sampling.effort in EFFORTS:
        budget, level = EFFORTS[sampling.effort]
        return {ANY: {"thinkingBudget": budget}, THINKS_BY_LEVEL: {"thinkingBudget": None, "thinkingLevel": level}}
    return {}


def _without_tools(options: Options) -> dict[str, Any]:
    body: dict[str, Any] = {"tools": [], "toolConfig": None}
    if options.as_model:
        # from its file gemini trims the text, and replaces variables in it
        body["systemInstruction"] = {"parts": [{"text": system_text(options)}]}
    return {"toolConfig": {"functionCallingConfig": {"mode": "NONE"}}, "httpOptions": {"extraBody": body}}


def system_text(options: Options) -> str:
    """The text that takes the place of gemini's own system prompt; a model gets all that there is for it as one."""
    appended = options.append_system_prompt if options.as_model else ""
    return "\n\n".join(filter(None, (options.system_prompt, appended)))
