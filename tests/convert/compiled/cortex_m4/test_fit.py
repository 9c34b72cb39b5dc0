"""Fitted output stages: every step of the output at the same sum as in TFLite Micro's arithmetic."""

import numpy as np
import pytest

from convert.compiled.cortex_m4 import fit

FORMS = [fit.SCALED, fit.PLAIN]


def channel_with(rng: np.random.Generator, shift: int, spread: int, bias: int = 77) -> fit.Channel:
    """Sums to both sides of 0, larger ones where the shift is."""
    low, high = (int(rng.integers(1, spread)) << max(shift - 10, 0) for _ in range(2))
    return fit.Channel(bias, int(rng.integers(1 << 30, 1 << 31)), shift, -low, high)


def assert_exact(channel: fit.Channel, scaled: fit.Scaled, form: fit.Form) -> None:
    """At every step of the output from both sides, and at the ends; and nothing overflows."""
    assert 0 <= scaled.multiplier < 1 << 31
    for value in range(-127, 128):
        least = channel.least(value) if channel.multiplier else 0
        for total in {channel.low, channel.high, least, least - 1}:
            if channel.low <= total <= channel.high:
                x = (total - channel.bias << form.exponent) + scaled.bias
                assert -(1 << 31) <= x < 1 << 31
                assert abs((x * scaled.multiplier >> 32) + scaled.rounding) < 1 << 31
                assert scaled.output(total - channel.bias, form) == channel.output(total), (channel, total)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("parity", [None, 0, 1])
def test_constants_are_exact(form: fit.Form, parity: int | None) -> None:
    rng = np.random.default_rng(9)
    found = []
    for shift in range(23):
        for spread in (500, 20000, 120000, 280000):
            channel = channel_with(rng, shift, spread)
            scaled = fit.fitted(channel, form, parity)
            if scaled is not None:
                found.append(shift)
                assert parity is None or scaled.rounding % 2 == parity
                assert_exact(channel, scaled, form)
    assert all(found.count(shift) == 4 for shift in range(3, 13)), "usual shifts are always fitted"


@pytest.mark.parametrize("form", FORMS)
def test_every_sum(form: fit.Form) -> None:
    """Not the steps alone: all sums of channels with few of them, with biases of any size."""
    rng = np.random.default_rng(10)
    for shift, bias in ((3, 0), (5, -300), (7, 5000), (8, -70000), (6, 1 << 21)):
        multiplier = int(rng.integers(1 << 30, 1 << 31))
        channel = fit.Channel(bias, multiplier, shift, bias - 30000, bias + 30000)
        scaled = fit.fitted(channel, form)
        assert scaled is not None
        for total in range(channel.low, channel.high + 1):
            assert scaled.output(total - bias, form) == channel.output(total)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("parity", [None, 0, 1])
def test_constant_channels(form: fit.Form, parity: int | None) -> None:
    for channel in (
        fit.Channel(5, 0, 1, -100, 100),
        fit.Channel(-5000, 1 << 30, 4, -6000, -4000),
        fit.Channel(1 << 24, 1 << 30, 8, 1 << 23, 1 << 25),
        fit.Channel(4 * 30, 1 << 30, 1, 120, 120),
    ):
        scaled = fit.fitted(channel, form, parity)
        assert scaled is not None
        assert scaled.multiplier == 0
        assert parity is None or scaled.rounding % 2 == parity
        for total in (channel.low, channel.high):
            assert scaled.output(total - channel.bias, form) == channel.output(total)


def test_sums_that_would_overflow_are_not_fitted() -> None:
    assert fit.fitted(fit.Channel(0, 1 << 30, 22, -(127 << 16), 127 << 16)) is not None
    assert fit.fitted(fit.Channel(0, 1 << 30, 22, -(1 << 23) - 1, (1 << 23) - 1)) is None
    assert fit.fitted(fit.Channel(0, 1 << 30, 22, 0, 1 << 24)) is None


def test_large_multipliers_are_not_fitted() -> None:
    """Where the multiplier would not fit 31 bits: the output grows by more than an eighth of the sum."""
    for form in FORMS:
        assert fit.fitted(fit.Channel(0, 3 << 29, 2, -10000, 10000), form) is None
        assert fit.fitted(fit.Channel(0, 3 << 29, 3, -10000, 10000), form) is not None


def test_steps_of_the_output() -> None:
    rng = np.random.default_rng(10)
    for shift in (0, 1, 5, 9, 14):
        channel = fit.Channel(0, int(rng.integers(1 << 30, 1 << 31)), shift, -1, 1)
        for value in range(-127, 128):
            least = channel.least(value)
            assert channel.output(least) >= value
            assert channel.output(least - 1) < value
