"""Several processes that listen on one port: the agent's main process starts and watches them, and counts for all."""
