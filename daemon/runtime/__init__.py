"""One slot's life around the engine: inbox, recovery, serving, swap, commands, bots."""
