"""What reaches a terminal: nothing of other programs that it obeys."""
