"""A library that decides when to retrain, wait or roll back: events in, actions out."""
