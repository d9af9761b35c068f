"""SQL for what is computed from sums: ratios, and how sure one may be of them."""

_Z = 1.959963984540054  # two-sided 95 %


def ratio(numerator: str, denominator: str) -> str:
    """A ratio of sums: NULL over nothing."""
    return f"cast({numerator} as double) / nullif({denominator}, 0)"


def low95(hits: str, tried: str) -> str:
    """Lower end of the 95 % interval of a proportion (Wilson 1927), as the marts compute it."""
    k, n = f"({hits})", f"({tried})"
    return (
        f"case when {n} > 0 then greatest(0.0, ({k} + {_Z * _Z / 2} - {_Z} * sqrt({k} * ({n} - {k})"
        f" / cast({n} as double) + {_Z * _Z / 4})) / ({n} + {_Z * _Z})) end"
    )
