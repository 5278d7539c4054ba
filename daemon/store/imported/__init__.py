"""What files brought: their rows, their order, and how they are forgotten."""
