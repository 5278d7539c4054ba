"""Run retrains and other jobs in child processes."""
