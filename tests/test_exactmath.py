"""Exact arithmetic: right to the last digits, and the same bits whatever the processor offers."""

from __future__ import annotations

import ast
import inspect
import math
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

import qtune
from qtune import distributions, exactmath
from qtune.distributions.incomplete_gamma import gamma, gamma_log_quantile
from qtune.exactmath import Array, exp, expm1, log, log1p, normal_quantile, number, root

RANDOM = np.random.default_rng(20240607)
EITHER_SIGN = RANDOM.choice([-1.0, 1.0], 400)


def relative_error(got: Array, true: Array) -> float:
    """The largest |got / true - 1|."""
    return float(np.max(np.abs(got - true) / np.abs(true)))


def in_decimal(function: Callable[[Decimal], Decimal], x: Array) -> Array:
    """function in 60 digits of decimal arithmetic, rounded to float64 at the end."""
    with localcontext() as context:
        context.prec = 60
        return np.array([float(function(Decimal(float(value)))) for value in x])


@pytest.mark.parametrize(
    ("function", "true", "x"),
    [
        (exp, lambda x: x.exp(), RANDOM.uniform(-700, 709, 400)),
        (exp, lambda x: x.exp(), EITHER_SIGN * np.exp(RANDOM.uniform(-40, 1, 400))),
        (log, lambda x: x.ln(), np.exp(RANDOM.uniform(-700, 700, 400))),
        (log, lambda x: x.ln(), 1.0 + EITHER_SIGN * np.exp(RANDOM.uniform(-36, -1, 400))),
        (expm1, lambda x: x.exp() - 1, RANDOM.uniform(-50, 700, 400)),
        (expm1, lambda x: x.exp() - 1, EITHER_SIGN * np.exp(RANDOM.uniform(-80, 1, 400))),
        (log1p, lambda x: (1 + x).ln(), np.exp(RANDOM.uniform(-80, 700, 400))),
        (log1p, lambda x: (1 + x).ln(), EITHER_SIGN * np.exp(RANDOM.uniform(-80, -0.01, 400))),
    ],
    ids=["exp", "exp small", "log", "log near 1", "expm1", "expm1 small", "log1p", "log1p small"],
)
def test_elementary_functions_are_right_to_the_last_bits(
    function: Callable[[Array], Array], true: Callable[[Decimal], Decimal], x: Array
) -> None:
    """exp, log, expm1 and log1p are within 5e-16 of the values that decimal arithmetic finds."""
    assert relative_error(function(x), in_decimal(true, x)) < 5e-16


def test_exp_ends_in_0_and_infinity() -> None:
    """Beyond the range of float64 exp is 0 or infinity, and it is gradual on the way down."""
    assert exp(np.array([-np.inf, -1e300, -746.0, 0.0, 710.0, np.inf])).tolist() == [
        0,
        0,
        0,
        1,
        np.inf,
        np.inf,
    ]
    assert number(exp, -744.0) == pytest.approx(1e-323, abs=5e-324)
    assert number(exp, 709.78) == pytest.approx(1.7928e308, rel=1e-4)


def test_the_normal_quantile_holds_far_into_the_tail() -> None:
    """The normal quantile is within 2e-15, from the median to probabilities of 1e-300."""
    v = np.concatenate([RANDOM.uniform(0.001, 0.499, 2000), np.exp(RANDOM.uniform(-690, -1, 2000))])
    assert relative_error(normal_quantile(v), special.ndtri(v)) < 2e-15
    assert number(normal_quantile, 0.5) == 0.0


def test_the_gamma_function_is_right_at_factorials_and_between() -> None:
    """The gamma function is within 2e-14 up to 20, at whole and half arguments and between."""
    n = np.arange(1.0, 20.0)
    half = [math.factorial(2 * k) / (4**k * math.factorial(k)) * math.sqrt(math.pi) for k in range(19)]
    assert relative_error(gamma(n), np.array([float(math.factorial(int(k) - 1)) for k in n])) < 2e-14
    assert relative_error(gamma(np.arange(19) + 0.5), np.array(half)) < 2e-14
    x = RANDOM.uniform(0.01, 20, 1000)
    assert relative_error(gamma(x), np.array([math.gamma(value) for value in x])) < 2e-14


SHAPES = [0.01, 0.013, 0.04, 0.2, 0.5, 0.99, 1.0, 1.01, 2.0, 7.5, 8.99, 9.01, 25.0, 400.0, 3000.0, 10000.0]


@pytest.mark.parametrize("upper", [False, True], ids=["lower", "upper"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gamma_quantiles_are_exact_in_both_tails(shape: float, upper: bool) -> None:
    """A gamma quantile is within 1e-13, or 2e-14 / shape, from the median to probabilities of 1e-16."""
    v = np.concatenate([RANDOM.uniform(0.01, 0.5, 300), np.exp(RANDOM.uniform(-37, -1, 300)), [0.5]])
    true = (special.gammainccinv if upper else special.gammaincinv)(shape, v)
    visible = true > 1e-290
    got = shape * exp(gamma_log_quantile(shape, v, upper=upper))
    assert relative_error(got[visible], true[visible]) < max(1e-13, 2e-14 / shape)


@pytest.mark.parametrize("shape", [0.01, 0.05, 0.3])
def test_the_logarithm_of_a_gamma_quantile_outlives_its_underflow(shape: float) -> None:
    """Where x is tiny, P is x**shape / gamma(shape + 1), which gives log x beyond the range of float64."""
    v = np.exp(RANDOM.uniform(-37, -0.7, 300))
    log_x = (np.log(v) + math.lgamma(shape + 1.0)) / shape
    tiny = log_x < -50
    got = gamma_log_quantile(shape, v, upper=False) + math.log(shape)
    assert relative_error(got[tiny], log_x[tiny]) < 1e-14
    assert tiny.any()


@pytest.mark.parametrize("shape", SHAPES)
def test_both_gamma_tails_meet_at_the_median(shape: float) -> None:
    """The quantile of 1/2 is the same from below and from above."""
    v = np.array([0.5])
    below, above = (gamma_log_quantile(shape, v, upper=upper) for upper in (False, True))
    assert abs(below[0] - above[0]) < max(1e-14, 1e-14 / shape)


@given(st.floats(-3, 3), st.floats(0.01, 5), st.floats(0.01, 5))
def test_a_root_is_found_between_any_two_ends(zero: float, below: float, above: float) -> None:
    """The root of a strictly monotone function is found to a few last bits, rising or falling."""

    def rising(x: float) -> float:
        return (x - zero) * (1.0 + (x - zero) * (x - zero))

    for function in (rising, lambda x: -rising(x)):
        assert root(function, zero - below, zero + above) == pytest.approx(zero, abs=1e-14)


def test_a_root_at_an_end_is_that_end_and_no_root_is_an_error() -> None:
    """An end that is the root is returned; without a change of sign there is nothing to find."""
    assert root(lambda x: x - 2.0, 2.0, 5.0) == 2.0
    assert root(lambda x: x - 5.0, 2.0, 5.0) == 5.0
    with pytest.raises(ValueError, match="no change of sign"):
        root(lambda x: x + 1.0, 2.0, 5.0)


EXACT = {
    "np": "abs any arange array bool_ clip empty empty_like errstate float64 floor frexp full_like inf int32 "
    "ldexp max maximum minimum ndarray ones_like rint sqrt stack where zeros",
    "math": "ceil fsum inf nan sqrt",
}
ORDER_OF_ADDITION = {"sum", "mean", "prod", "cumsum", "dot"}
FEED_A_TABLE = ["exactmath", "tables", "incomplete_gamma", "families", "discrete", "fitting", "base"]


@pytest.mark.parametrize("name", FEED_A_TABLE)
def test_only_operations_that_ieee_754_defines_to_the_bit_are_used(name: str) -> None:
    """Nothing that feeds a table calls a library's exp, log, power or sum, which differ by platform."""
    module = exactmath if name == "exactmath" else getattr(distributions, name)
    nodes = list(ast.walk(ast.parse(inspect.getsource(module))))
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in ORDER_OF_ADDITION
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in EXACT:
            assert node.attr in EXACT[node.value.id].split()
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow | ast.MatMult):
            assert isinstance(node.left, ast.Constant), ast.unparse(node)


TABLES_SHA256 = "d361a6900cc6ace524d0e112c87948264743ddcf092961a4cd2ab1692cb66380"
DIGEST = """
import hashlib
from qtune.distributions import Exponential, Gamma, Lognormal, Pareto, Uniform, Weibull
made = (Exponential(0.3), Gamma(0.3, 0.2), Gamma(0.3, 4.0), Lognormal(0.3, 1.0), Pareto(0.3, 0.7))
made += (Uniform(0.1, 0.3), Weibull(0.3, 2.0))
print(hashlib.sha256(b"".join(d.table().values.astype("<f8").tobytes() for d in made)).hexdigest())
"""


def digest_with(environment: dict[str, str]) -> str:
    """The digest of seven tables, in a new Python with these environment variables."""
    path = os.pathsep.join([os.path.dirname(os.path.dirname(qtune.__file__)), *sys.path])
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DIGEST],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.strip()


def test_tables_are_the_same_bits_on_every_processor() -> None:
    """The tables are these very bits, with all the vector code of numpy and with none of it.

    A change of the tables on purpose changes the digest; it also changes every simulated row.
    """
    from numpy._core._multiarray_umath import __cpu_dispatch__

    assert digest_with({}) == TABLES_SHA256
    assert digest_with({"NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__)}) == TABLES_SHA256
