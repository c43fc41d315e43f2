"""Anthropic's Messages API, answered by the CLIs."""
