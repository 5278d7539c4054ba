"""What the pages show: read from the slots, the store and the registry, and put into words."""
