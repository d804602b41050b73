"""What reprioritisation does to waiting times in the reading room: queueing theory, and a simulation. Pure."""
