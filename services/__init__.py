"""What the server does, knowing nothing of HTTP."""
