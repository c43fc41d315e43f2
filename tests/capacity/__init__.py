"""What becomes of a server that is asked for more than it can carry, and of the processes that wait in it."""
