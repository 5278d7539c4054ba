"""The two forms of a saved model: how each is made, and proved in a fresh interpreter."""
