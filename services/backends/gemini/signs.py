"""Signs by which gemini takes a text for more than a text, and how it is kept from that without changing the text."""

WHITE_SPACE = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""What JavaScript trims."""

NEXT_LINE = "\u0085"
"""A line break that JavaScript does not trim."""

COMMANDS = ("/", "$")
"""How a prompt begins that gemini takes for a command."""

NOT_RESUMED = ("/", "?", "<session_context>", "<hook_context>")
"""How a message of the user's begins that gemini leaves out when it takes a conversation up again."""


def begins_with(text: str, signs: tuple[str, ...]) -> bool:
    """Whether gemini would see one of the signs: it looks for them after any white space."""
    return text.lstrip(WHITE_SPACE).startswith(signs)


def as_text(prompt: str, signs: tuple[str, ...]) -> list[str]:
    """The prompt in parts of which the last is the prompt itself, so that gemini takes it for no command."""
    return [NEXT_LINE, prompt] if begins_with(prompt, signs) else [prompt]
