"""The status page: what the daemon does, for people and for programs, and orders to it."""
