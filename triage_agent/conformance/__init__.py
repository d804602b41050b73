"""The conformance statement: what a site's agent speaks, by its configuration and the code that speaks it."""
