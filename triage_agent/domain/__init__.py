"""What a study, a score, a decision and an audit event are. Values and rules only; no I/O."""
