"""The second shell of the engine: history instead of a live market."""
