"""The process: every socket, file, clock and log line of hyperdrift."""
