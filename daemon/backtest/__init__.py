"""Backtests: the engine driven by stored bars instead of a live market."""
