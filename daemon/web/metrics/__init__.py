"""The figures of the daemon in the form that Prometheus reads."""
