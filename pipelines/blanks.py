"""What stands around a value and is no part of it: one rule for SQL and Python."""

BLANKS = " \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000\u200b\u2060\ufeff" + "".join(
    map(chr, range(0x2000, 0x200B))
)
"""All that Unicode calls white space, and what a copied text carries unseen."""


def trimmed(text: str) -> str:
    """The text without blanks in front and behind."""
    return text.strip(BLANKS)
