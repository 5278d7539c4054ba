"""Retrains and other jobs in child processes."""
