"""Models: bundles on disk, the encoders that can stand in them, and the scorer that runs one."""
