"""Names and texts in SQL, quoted: whatever is in them, they end where they end."""


def name(text: str) -> str:
    """An identifier: a schema, a table, a column."""
    return '"' + text.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text."""
    return "'" + text.replace("'", "''") + "'"
