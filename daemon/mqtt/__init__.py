"""The embedded broker and the daemon's own messages."""
