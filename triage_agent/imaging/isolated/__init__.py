"""Reading stored files in processes of their own, which a hostile file may exhaust or crash: it costs its own score."""
