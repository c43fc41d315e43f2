"""How the model is to be asked, as claude is told between its start and the prompt."""

from collections.abc import Mapping
from typing import Any

import orjson

from services.backends.base import Options
from services.backends.claude.abilities import abilities
from services.backends.claude.options import Variables, guards, model_of
from services.backends.claude.wire import control, settings

HONOURS = frozenset({"max_tokens", "temperature", "top_p", "top_k", "effort", "thinking_tokens"})

LEAST_BUDGET = 1024
"""The smallest budget for thinking that the provider takes; it has to be smaller than the limit of the answer."""
WARMEST = 1.0
"""Anthropic's temperatures end here; OpenAI's, which clients may think of, at 2."""
TOP_P_WITH_THOUGHTS = 0.95
"""The provider takes no smaller one of a model that thinks, no temperature but 1, and no ``top_k``."""
EFFORTS = {"minimal": "low"}
"""Words of others for what Anthropic has another word for."""


def honoured(options: Options) -> frozenset[str]:
    """What acts, by name, with the model that is asked."""
    able, sampling = abilities(model_of(options)), options.sampling
    refused = {
        "temperature": not able.samples,
        "top_p": not able.samples or sampling.temperature is not None,
        "top_k": not able.samples,
        "effort": not able.takes_effort,
        "thinking_tokens": not (able.takes_budget if sampling.thinking_tokens else able.can_not_think),
    }
    return HONOURS - {name for name, is_refused in refused.items() if is_refused}


def requests(options: Options) -> bytes:
    """The control requests that a run begins with, none when all is as usual."""
    said = b""
    variables = (*_limits(options), *_body(options))
    effort = options.sampling.effort
    if variables or effort:
        more = {"effortLevel": EFFORTS.get(effort, effort)} if effort else {}
        said += settings((*guards(options), *variables), **more)
    budget = _budget(options)
    if budget is not None:
        said += control("set_max_thinking_tokens", max_thinking_tokens=budget)
    return said


def _limits(options: Options) -> Variables:
    return (("CLAUDE_CODE_MAX_OUTPUT_TOKENS", str(options.max_tokens)),) if options.max_tokens else ()


def _budget(options: Options) -> int | None:
    """How much the model may think; None leaves it to claude.

    Thoughts count as output: a limit that nobody meant for them would be used up by them.  An agent thinks unless there
    is no room for it.
    """
    sampling = options.sampling
    if sampling.thinking_tokens is not None:
        return sampling.thinking_tokens
    least = options.max_tokens if options.as_model and not sampling.effort else LEAST_BUDGET
    return 0 if 0 < options.max_tokens <= least else None


def _body(options: Options) -> Variables:
    """The variables that put the sampling into the body of claude's requests.

    Without thinking claude gives a temperature of its own, beside which the provider takes no ``top_p``.  So it is left
    to think that the model thinks, and what it adds for that to its requests is left out by the other variable.
    """
    body = _sampled(options)
    if not body:
        return ()
    if not (options.sampling.thinking_tokens or _fits_thoughts(body)):
        body["thinking"] = {"type": "disabled"}
    return (
        ("CLAUDE_CODE_EXTRA_BODY", orjson.dumps(body).decode()),
        ("CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS", "1"),
    )


def _sampled(options: Options) -> dict[str, Any]:
    """What of the sampling acts, as fields of the body; the provider takes a temperature or a ``top_p``, not both."""
    sampling, acts = options.sampling, honoured(options)
    temperature = None if sampling.temperature is None else min(sampling.temperature, WARMEST)
    fields = {"temperature": temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    return {name: value for name, value in fields.items() if name in acts and value is not None}


def _fits_thoughts(body: Mapping[str, Any]) -> bool:
    return (
        body.get("temperature", WARMEST) == WARMEST
        and body.get("top_p", 1.0) >= TOP_P_WITH_THOUGHTS
        and "top_k" not in body
    )
