"""`hyperdrift top`: every slot on one screen, live."""
