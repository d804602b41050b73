"""The conformance statement: what this site's agent speaks, read from its configuration and from the code that speaks it."""
