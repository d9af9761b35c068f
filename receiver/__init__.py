"""Receive Kobra's visits: authenticate, land, sync, answer. Nothing here reads what a visit means."""
