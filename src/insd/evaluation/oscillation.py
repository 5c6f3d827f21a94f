"""At what frequency activity oscillates, and how much of it does."""

import numpy as np
import scipy.signal
from jaxtyping import Float

from insd.samples import lasting

LEAST_PERIODS = 2
"""Periods per trial below which a spectral peak does not count as an oscillation: see `dominant_frequency`."""
ZERO_PADDING = 8
"""Trials are padded to so many times their length: the peak is found to an eighth of the resolution."""


def lowest_frequency(times: int, dt: float) -> float:
    """Frequency in Hz from which on a peak of the spectrum of trials of so many steps counts as an oscillation."""
    return LEAST_PERIODS / (times * dt)


def dominant_frequency(rates: Float[np.ndarray, "trial time unit"], dt: float) -> tuple[float, float]:
    """Frequency in Hz at which activity has most power, and the share of power that lies around it.

    The power spectrum of each unit in each trial, without its linear trend and tapered by a Hann window, is summed
    over units and trials: it does not depend on rotations of the units, and phases may differ between trials. The
    share is the power within one resolution, 1 / duration, to either side of the peak, over all power above zero
    frequency. A pure oscillation has a share near 1, white noise one near 4 dt / duration.

    What short trials limit: with 1.7 s the resolution is 0.6 Hz. Two oscillations closer than about twice that are seen
    as one, and a peak below about 1.2 Hz (`LEAST_PERIODS` per trial) is indistinguishable from slow changes,
    such as the response to a stimulus; activity that only moves between steady states has its peak there. The padding
    places the peak of one oscillation more finely and separates no more of them.

    Of trials that differ in length, each is seen until its end, and the duration is that of the longest.

    Both are NaN where the activity is only a linear trend in each trial, up to single precision.
    """
    lasts = lasting(rates)
    longest = int(lasts.sum(1).max())
    duration = longest * dt
    total = np.zeros(ZERO_PADDING * longest // 2 + 1)
    detrended_squares = 0.0
    # Trial by trial, since padded spectra are many times larger than the rates.
    for trial, steps in zip(rates.astype(np.float64), lasts.sum(1), strict=True):
        detrended = scipy.signal.detrend(trial[:steps], axis=0)
        detrended_squares += float(np.square(detrended).sum())
        frequencies, power = scipy.signal.periodogram(
            detrended, 1 / dt, "hann", ZERO_PADDING * longest, detrend=False, axis=0
        )
        # A density is per trial: longer trials have more of it.
        total += power.sum(-1) * (steps / longest)
    if detrended_squares <= np.finfo(np.float32).eps ** 2 * float(np.square(rates[lasts], dtype=np.float64).sum()):
        return float("nan"), float("nan")
    frequencies, total = frequencies[1:], total[1:]
    peak = float(frequencies[total.argmax()])
    # Half a step of the frequencies keeps the edges of the band from falling to rounding.
    around = np.abs(frequencies - peak) < 1 / duration + frequencies[0] / 2
    return peak, float(total[around].sum() / total.sum())
