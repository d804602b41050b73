"""A pool of replicas on a Ray cluster: what workers ask, what a replica answers, and what is in between."""
