"""What is known of the bots of a slot: whether they are there, speak, and compute as we do."""
