"""Learning: MURA-layout data in, a bundle and its measured figures out."""
