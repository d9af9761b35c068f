"""Erase persons, and keep personal data no longer than told."""
