"""Compiled passes over the volume that the accelerated MEDI solver is made of.

Every pass reads and writes each array once, so the Fourier transforms stay the main cost. A split
variable y and its scaled dual u are stored as one array v = y + u where one follows from the other.
"""
# The arguments are plain arrays and numbers; numba infers their types.
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit

# Numba turns float32 with a Python number into float64; these keep the passes in float32.
ZERO, ONE, TWO, HALF = np.float32(0), np.float32(1), np.float32(2), np.float32(0.5)
SIXTH, TWENTIETH, TWELFTH = np.float32(1 / 6), np.float32(1 / 20), np.float32(1 / 12)
LEAST_BEND = np.float32(0.2)
"""Lower bound on cos(misfit): keeps a Newton step downhill where the data term curves down."""


@njit(cache=True, fastmath={"nsz", "arcp", "contract", "afn", "reassoc"})
def update_data(field, simulated, state, numbers):
    """Update the split z = D chi by one Newton step of the data term in each voxel, in place.

    Minimises weight (1 - cos(z - f)) * 2 + rho / 2 (z - v)^2 with v the relaxed simulated field
    plus the dual; ``simulated`` becomes z - u, ready for the next transform.
    """
    energy, z, dual = state
    rho, relaxation, dual_scale = numbers
    for i in range(field.size):
        u = dual[i] * dual_scale
        v = relaxation * simulated[i] + (ONE - relaxation) * z[i] + u
        e = TWO * energy[i]
        if e > ZERO:
            d = z[i] - field[i]
            # sin and cos of the misfit; most voxels are so near that the series is exact enough.
            if abs(d) < HALF:
                q = d * d
                s = d * (ONE - q * SIXTH * (ONE - q * TWENTIETH))
                c = ONE - q * HALF * (ONE - q * TWELFTH)
            else:
                s, c = np.sin(d), np.cos(d)
            bend = max(c, LEAST_BEND)
            new = (e * (bend * z[i] - s) + rho * v) / (e * bend + rho)
        else:
            new = v
        z[i] = new
        dual[i] = v - new
        simulated[i] = TWO * new - v


@njit(cache=True, fastmath={"nsz", "arcp", "contract", "afn", "reassoc"})
def _decode(v, edge, limit, dual_scale):
    """Split v = y + u: y is shrunk where the gradient is penalised; the dual may be rescaled."""
    if edge:
        return v, ZERO
    u = min(max(v, -limit), limit)
    return v - u, u * dual_scale


@njit(cache=True, fastmath={"nsz", "arcp", "contract", "afn", "reassoc"})
def update_gradient(chi, split, edges, numbers, out):
    """Update the split y = G chi by shrinkage and write rho G^H (y - u) to ``out``.

    ``split`` has shape (3, x, y, z) and holds y + u; bit ``axis`` of ``edges`` is set where the
    magnitude has an edge, which is where the gradient is free. The image is periodic, as the
    closed-form update in k-space needs it to be; the box leaves room for that.
    ``out`` must be zero at first.
    """
    old_limit, limit, dual_scale, rho, relaxation, hx, hy, hz = numbers
    nx, ny, nz = chi.shape
    inverse = (ONE / hx, ONE / hy, ONE / hz)
    for x in range(nx):
        xn = x + 1 if x + 1 < nx else 0
        for y in range(ny):
            yn = y + 1 if y + 1 < ny else 0
            for z in range(nz):
                zn = z + 1 if z + 1 < nz else 0
                here = chi[x, y, z]
                bits = edges[x, y, z]
                old, u = _decode(split[0, x, y, z], bits & 1, old_limit, dual_scale)
                v = relaxation * (chi[xn, y, z] - here) * inverse[0] + (ONE - relaxation) * old + u
                split[0, x, y, z] = v
                new, u = _decode(v, bits & 1, limit, ONE)
                push = rho * inverse[0] * (new - u)
                out[x, y, z] -= push
                out[xn, y, z] += push
                old, u = _decode(split[1, x, y, z], bits & 2, old_limit, dual_scale)
                v = relaxation * (chi[x, yn, z] - here) * inverse[1] + (ONE - relaxation) * old + u
                split[1, x, y, z] = v
                new, u = _decode(v, bits & 2, limit, ONE)
                push = rho * inverse[1] * (new - u)
                out[x, y, z] -= push
                out[x, yn, z] += push
                old, u = _decode(split[2, x, y, z], bits & 4, old_limit, dual_scale)
                v = relaxation * (chi[x, y, zn] - here) * inverse[2] + (ONE - relaxation) * old + u
                split[2, x, y, z] = v
                new, u = _decode(v, bits & 4, limit, ONE)
                push = rho * inverse[2] * (new - u)
                out[x, y, z] -= push
                out[x, y, zn] += push


@njit(cache=True)
def csf_mean(chi, csf, split, numbers):
    """Return the mean of relaxed chi plus dual over the CSF, to which the split is shrunk."""
    old_pull, dual_scale, relaxation, mean = numbers
    total = 0.0
    for i in range(csf.size):
        total += _csf_point(chi[csf[i]], split[i], old_pull, dual_scale, relaxation, mean)
    return total / max(csf.size, 1)


@njit(cache=True)
def _csf_point(here, v, old_pull, dual_scale, relaxation, mean):
    """Return relaxed chi plus dual in a CSF voxel from the stored v = s + u."""
    s = v + old_pull * (mean - v)
    return relaxation * here + (ONE - relaxation) * s + (v - s) * dual_scale


@njit(cache=True)
def update_csf(chi, csf, split, numbers, out):
    """Update the split s = chi in the CSF by shrinkage to its mean; add rho (s - u) to ``out``.

    Outside the CSF the split follows chi exactly, so only its quadratic term remains there.
    """
    old_pull, dual_scale, relaxation, mean, pull, new_mean, rho = numbers
    flat = out.ravel()
    for i in range(csf.size):
        here = chi[csf[i]]
        v = _csf_point(here, split[i], old_pull, dual_scale, relaxation, mean)
        s = v + pull * (new_mean - v)
        split[i] = v
        flat[csf[i]] += rho * (TWO * s - v - here)


@njit(cache=True, fastmath={"nsz", "arcp", "contract", "afn", "reassoc"})
def solve_chi(data, rest, kernel, lines, numbers):
    """Solve for chi in k-space, in place: ``rest`` becomes chi and ``data`` becomes D chi."""
    rho_data, rho_gradient, rho_csf = numbers
    lx, ly, lz = lines
    nx, ny, nz = kernel.shape
    for x in range(nx):
        for y in range(ny):
            transverse = lx[x] + ly[y]
            for z in range(nz):
                d = kernel[x, y, z]
                stiff = rho_data * d * d + rho_gradient * (transverse + lz[z]) + rho_csf
                if stiff > ZERO:
                    value = (rho_data * d * data[x, y, z] + rest[x, y, z]) / stiff
                else:
                    value = np.complex64(0)
                rest[x, y, z] = value
                data[x, y, z] = d * value
