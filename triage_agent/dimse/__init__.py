"""Everything that speaks DIMSE: the server that peers send to, and the client that sends to peers."""
