"""The memory of conversations: one record per session, in SQLite or PostgreSQL."""
