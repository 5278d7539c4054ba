"""The daemon's formulas of the 17 features, for bots: copies of modules of `retrain`.

The client imports nothing of `retrain`, and `retrain` nothing of the client: each may run in an
environment without the other. `make reference` writes the copies; only their imports differ.
"""
