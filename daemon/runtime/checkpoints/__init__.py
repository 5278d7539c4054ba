"""Engines as they were a while ago, so that a start replays only what came later."""
