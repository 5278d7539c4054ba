"""Read a bot's closed trades from the files that bots, exchanges and freqtrade write."""
