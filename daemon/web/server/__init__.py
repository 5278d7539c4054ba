"""The server of the status page: who may ask, what it answers and what it pushes."""
