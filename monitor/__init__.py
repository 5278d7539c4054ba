"""A library: events in, actions out; when to retrain, when to wait, when to go back."""
