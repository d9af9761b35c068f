"""SQL for what is computed from sums: ratios, and how sure one may be of them."""

_Z = 1.959963984540054  # two-sided 95 %


def ratio(numerator: str, denominator: str) -> str:
    """A ratio of sums: NULL over nothing."""
    return f"cast({numerator} as double) / nullif({denominator}, 0)"


def low95(hits: str, tried: str) -> str:
    """Lower end of the 95 % interval of a proportion (Wilson 1927), as the marts compute it."""
    return (
        f"case when {tried} > 0 then greatest(0.0, ({hits} + {_Z * _Z / 2} - {_Z} * sqrt({hits} * ({tried} - {hits})"
        f" / cast({tried} as double) + {_Z * _Z / 4})) / ({tried} + {_Z * _Z})) end"
    )
