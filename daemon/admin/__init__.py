"""What the command line shows and does beside a running daemon."""
