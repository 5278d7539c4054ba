"""A whole cycle on one machine: a replay exchange, a paper bot and what they report."""
