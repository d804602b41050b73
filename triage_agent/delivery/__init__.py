"""Artifacts to their destinations: transports, the retry policy, and the loop that empties the outbox."""
