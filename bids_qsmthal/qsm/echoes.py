"""Compiled per-voxel fits of the multi-echo signal, which ``field`` is made of."""
# The arguments are plain arrays and numbers; numba infers their types.
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def, no-any-return"

import numpy as np
from numba import njit

TWO_PI = 2 * np.pi


@njit(cache=True, error_model="numpy")
def wrap(angle):
    """Return the angle in [-pi, pi]."""
    # np.round rounds halves to even: both ends, -pi and pi, can come out.
    return angle - TWO_PI * np.round(angle / TWO_PI)


@njit(cache=True, error_model="numpy")
def _sine(angle):
    """Return the sine; near zero, where a good fit stays, a series that is exact to 1e-6."""
    rest = wrap(angle)
    if abs(rest) < 0.6:
        q = rest * rest
        return rest * (1 - q / 6 * (1 - q / 20 * (1 - q / 42)))
    return np.sin(rest)


@njit(cache=True, error_model="numpy")
def fit_two(magnitude, phase, where, search):
    """Fit slope (rad/s) and intercept in voxels ``where`` of flat (voxel, echo) arrays.

    ``search`` holds the echo times, the largest number of steps and the tolerance. Returns slope
    and magnitude-weighted rms misfit, one value for each of ``where``.
    """
    times, iterations, tolerance = search
    slope = np.zeros(where.size, np.float32)
    residual = np.zeros(where.size, np.float32)
    weight = np.empty(times.size)
    for i in range(where.size):
        angle = phase[where[i]]
        for j in range(times.size):
            weight[j] = float(magnitude[where[i], j]) ** 2
        # The search finds the nearest minimum only; the start must be right to about half a turn at
        # the last echo.
        omega = _pulse_pair(angle, weight, times)
        omega, offset = _newton(angle, weight, times, omega, iterations, tolerance)
        slope[i] = omega
        residual[i] = _misfit(angle, weight, times, omega, offset)
    return slope, residual


@njit(cache=True, error_model="numpy")
def intercepts(magnitude, phase, where, times, slope):
    """Return the phase at time zero for given slopes and the sums of A^2 t^0, t^1, t^2."""
    intercept = np.zeros(where.size, np.float32)
    moments = np.zeros((3, where.size), np.float32)
    weight = np.empty(times.size)
    for i in range(where.size):
        for j in range(times.size):
            weight[j] = float(magnitude[where[i], j]) ** 2
        intercept[i] = _mean_angle(phase[where[i]], weight, times, slope[i])
        moments[0, i] = weight.sum()
        moments[1, i] = (weight * times).sum()
        moments[2, i] = (weight * times**2).sum()
    return intercept, moments


@njit(cache=True, error_model="numpy")
def fit_one(magnitude, phase, where, search, start):
    """Fit the slope alone; ``start`` holds the first slopes and the known intercepts."""
    times, iterations, tolerance = search
    slope, offset = start
    found = np.zeros(where.size, np.float32)
    residual = np.zeros(where.size, np.float32)
    weight = np.empty(times.size)
    for i in range(where.size):
        angle = phase[where[i]]
        s2 = 0.0
        for j in range(times.size):
            weight[j] = float(magnitude[where[i], j]) ** 2
            s2 += weight[j] * times[j] ** 2
        omega = float(slope[i])
        for _ in range(iterations):
            b1 = 0.0
            for j in range(times.size):
                b1 += weight[j] * times[j] * _sine(angle[j] - offset[i] - omega * times[j])
            # The Hessian is taken at zero misfit (cosine 1): it stays positive where a noisy voxel
            # would make Newton's own step go uphill.
            omega += b1 / s2
            if abs(b1 / s2) <= tolerance * (abs(omega) + 1 / times[-1]):
                break
        found[i] = omega
        residual[i] = _misfit(angle, weight, times, omega, offset[i])
    return found, residual


@njit(cache=True, error_model="numpy")
def _pulse_pair(angle, weight, times):
    """Return the slope from the closest pairs of echoes; right up to a turn per spacing."""
    shortest = np.diff(times).min()
    re = im = 0.0
    for j in range(times.size - 1):
        # Sidecars round echo times: gaps of one spacing differ in the last digit.
        if times[j + 1] - times[j] < 1.01 * shortest:
            step = np.float32(angle[j + 1] - angle[j])
            # A weight of A_j A_j+1: the sum is that of the conjugate products of neighbouring
            # echoes.
            pair = np.sqrt(weight[j] * weight[j + 1])
            re += pair * np.cos(step)
            im += pair * np.sin(step)
    return np.arctan2(im, re) / shortest


@njit(cache=True, error_model="numpy")
def _mean_angle(angle, weight, times, omega):
    """Return the weighted mean phase at time zero."""
    re = im = 0.0
    for j in range(times.size):
        rest = np.float32(wrap(angle[j] - omega * times[j]))
        re += weight[j] * np.cos(rest)
        im += weight[j] * np.sin(rest)
    return np.arctan2(im, re)


@njit(cache=True, error_model="numpy")
def _newton(angle, weight, times, omega, iterations, tolerance):
    """Return slope and intercept of the least complex misfit by Gauss-Newton steps."""
    s0 = weight.sum()
    s1 = (weight * times).sum()
    s2 = (weight * times**2).sum()
    # Positive for two different times with signal in both (Cauchy-Schwarz); the mask leaves out
    # voxels without signal in an echo. The sums are in double precision, for the difference cancels
    # digits.
    determinant = s0 * s2 - s1 * s1
    offset = _mean_angle(angle, weight, times, omega)
    for _ in range(iterations):
        b0 = b1 = 0.0
        for j in range(times.size):
            pull = weight[j] * _sine(angle[j] - offset - omega * times[j])
            b0 += pull
            b1 += pull * times[j]
        change = (s0 * b1 - s1 * b0) / determinant
        offset += (s2 * b0 - s1 * b1) / determinant
        omega += change
        if abs(change) <= tolerance * (abs(omega) + 1 / times[-1]):
            break
    return omega, offset


@njit(cache=True, error_model="numpy")
def _misfit(angle, weight, times, omega, offset):
    """Return the weighted root mean square of the wrapped misfit in rad."""
    total = 0.0
    for j in range(times.size):
        rest = wrap(angle[j] - offset - omega * times[j])
        total += weight[j] * rest * rest
    return np.sqrt(total / weight.sum())
