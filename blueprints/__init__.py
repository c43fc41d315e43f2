"""The HTTP dialects: each turns requests into prompts and events into bytes."""
