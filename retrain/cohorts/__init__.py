"""Find the addresses whose trades are surely followed by moves in, or against, their direction."""
