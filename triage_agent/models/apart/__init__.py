"""A bundle in a process of its own: what the agent asks, what that process answers, and what is in between."""
