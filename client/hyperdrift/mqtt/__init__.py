"""The connection to the broker, its topics, and what bots say and hear."""
