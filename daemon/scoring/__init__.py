"""Compute the features of a closed bar and its predictions."""
