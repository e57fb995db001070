"""Quantiles of Student's t, for intervals of means that few groups tell."""

import math
from statistics import NormalDist


def quantile(chance: float, freedom: float) -> float:
    """The value that Student's t stays below with a chance above 1/2; any degrees of freedom from 1 on.

    Hill's algorithm 396 (1970): right to 0.1 % for 1 degree and from 2 on; between them up to 3 % too large.
    """
    both = 2 * (1 - chance)
    if freedom <= 1:
        return 1 / math.tan(both * math.pi / 2)
    if freedom < 2:  # between two exact values, on the scale on which they are nearly even
        low, high = quantile(chance, 1), quantile(chance, 2)
        return math.exp(math.log(low) + (1 - 1 / freedom) * 2 * math.log(high / low))
    if freedom == 2:
        return math.sqrt(2 / (both * (2 - both)) - 2)
    return hill(both, freedom)


def hill(both: float, freedom: float) -> float:
    """The expansion, by the chance of being beyond on either side. freedom: more than 2."""
    a = 1 / (freedom - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * freedom
    x = d * both
    y = x ** (2 / freedom)
    if y > 0.05 + a:
        x = NormalDist().inv_cdf(both / 2)
        y = x**2
        if freedom < 5:
            c += 0.3 * (freedom - 4.5) * (x + 0.6)
        c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y**2)
    else:
        inner = 1 / (((freedom + 6) / (freedom * y) - 0.089 * d - 0.822) * (freedom + 2) * 3)
        y = ((inner + 0.5 / (freedom + 4)) * y - 1) * (freedom + 1) / (freedom + 2) + 1 / y
    return math.sqrt(freedom * y)
