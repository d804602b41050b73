"""What happens to an instance between the wire and the worklist: durable in the spool, registered, complete or not."""
