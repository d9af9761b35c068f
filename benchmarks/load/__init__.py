"""How fast landed visits become tables, against the bare limit and the peers."""
