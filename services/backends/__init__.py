"""The CLIs clinvk can speak to: pure state machines, one module each."""
