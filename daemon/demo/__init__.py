"""Run a whole cycle on one machine, with a replay exchange and a paper bot."""
