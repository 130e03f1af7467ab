"""The server that answers chats, keeps what was said, and collects votes: one process, one SQLite file, one page."""
