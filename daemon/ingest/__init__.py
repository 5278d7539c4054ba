"""Import files of bars and funding, and the venue's archive, into the store."""
