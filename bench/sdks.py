"""The routes of the official SDKs on the fake CLI, as plain answers and as streams."""

import statistics

from bench.harness import Server, running_server
from bench.measures import Route, added, delay_ms, stream_rate
from bench.native import SETTINGS
from bench.table import Figure


def chat(words: str, stream: bool) -> dict[str, object]:
    """A request that both dialects take."""
    message = {"role": "user", "content": f"bench {words}"}
    return {"model": "claude", "max_tokens": 1024, "messages": [message], "stream": stream}


OPENAI = Route("OpenAI chunks", "/openai/v1/chat/completions", chat, b'"delta":{"content":')
ANTHROPIC = Route("Anthropic deltas", "/anthropic/v1/messages", chat, b'"type":"text_delta"')


def measure() -> list[Figure]:
    """All figures of both dialects."""
    with running_server(SETTINGS) as server:
        return [figure for route in (OPENAI, ANTHROPIC) for figure in of_route(server, route)]


def of_route(server: Server, route: Route) -> list[Figure]:
    """The figures of one dialect."""
    bare, served = added(server, route)
    added_ms = (statistics.median(served) - statistics.median(bare)) * 1e3
    dialect = route.name.partition(" ")[0]
    return [
        Figure(f"added to a plain {dialect} chat, median", added_ms, "ms", at_most=4.0),
        stream_rate(server, route, at_least=40_000),
        Figure(f"{dialect} delta, CLI to client, median", delay_ms(server, route), "ms", at_most=5.0),
    ]
