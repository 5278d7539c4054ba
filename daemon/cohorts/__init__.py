"""Learn the cohorts: whose trades are surely followed by moves in, or against, their direction."""
