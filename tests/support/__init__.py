"""What tests share: a box around them, real servers, an HTTP client that can vanish, a view of the processes."""
