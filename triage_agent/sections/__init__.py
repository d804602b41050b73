"""Tables of the configuration, a module a subject; `settings` puts the whole together."""
