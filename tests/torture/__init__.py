"""Proofs of what may never go wrong, each run also against a receiver or reader that is broken on purpose."""
