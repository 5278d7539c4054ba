"""The connection to the broker, its topics, and the messages of bots."""
