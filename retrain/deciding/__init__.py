"""Decide: what a round trip costs, and which probabilities become a signal."""
