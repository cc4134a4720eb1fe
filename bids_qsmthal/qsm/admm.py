"""Compiled passes over the volume that the accelerated MEDI solver is made of.

Two real images travel as one complex one, ``chi + i D chi`` on the way out of k-space and the two
right-hand sides on the way in: a complex transform is cheaper than two real ones, and each pass
reads and writes the volume once, in place. A split variable y and its scaled dual u are stored as
one array v = y + u where one follows from the other. The inner loops run along rows and have no
branches, so that compilers turn them into vector instructions.

``passes`` calls them, and says the same in whole-array operations for other devices.
"""
# The arguments are plain arrays and numbers; numba infers their types.
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit

# Numba turns float32 with a Python number into float64; these keep the passes in float32.
ZERO, ONE, TWO, HALF = np.float32(0), np.float32(1), np.float32(2), np.float32(0.5)
FULL_TURN = np.float32(2 * np.pi)
SINE = tuple(np.float32(1 / d) for d in (6, 20, 42, 72))
COSINE = tuple(np.float32(1 / d) for d in (2, 12, 30, 56, 90))
LEAST_BEND = np.float32(0.2)
"""Lower bound on cos(misfit): keeps a Newton step downhill where the data term curves down."""

FAST = {"nsz", "arcp", "contract", "afn", "reassoc"}


@njit(cache=True, fastmath=FAST)
def _data_row(image, known, state, numbers, push):
    """Update the split z = D chi of a row by one Newton step of the data term in each voxel.

    Minimises weight (1 - cos(z - f)) * 2 + rho / 2 (z - v)^2 with v the relaxed simulated field
    plus the dual; ``push`` becomes z - u. Where nothing was measured, z follows v.
    """
    (field, energy), (z, dual), (rho, relaxation, dual_scale) = known, state, numbers
    for i in range(field.size):
        v = relaxation * image[i].imag + (ONE - relaxation) * z[i] + dual[i] * dual_scale
        d = z[i] - field[i]
        turns = d / FULL_TURN
        turns = np.float32(np.int32(turns + (HALF if turns > ZERO else -HALF)))
        # Series of the half angle, within a quarter turn, are exact to float32.
        half = HALF * (d - FULL_TURN * turns)
        q = half * half
        sine = half * (
            ONE - q * SINE[0] * (ONE - q * SINE[1] * (ONE - q * SINE[2] * (ONE - q * SINE[3])))
        )
        cosine = ONE - q * COSINE[0] * (
            ONE
            - q * COSINE[1] * (ONE - q * COSINE[2] * (ONE - q * COSINE[3] * (ONE - q * COSINE[4])))
        )
        bend = max(ONE - TWO * sine * sine, LEAST_BEND)
        e = TWO * energy[i]
        new = (e * (bend * z[i] - TWO * sine * cosine) + rho * v) / (e * bend + rho)
        z[i] = new
        dual[i] = v - new
        push[i] = TWO * new - v


@njit(cache=True, fastmath=FAST)
def _gradient_row(here, there, state, numbers, push):
    """Update the split y = G chi of a row along one axis; ``push`` becomes rho (y - u) / h.

    ``split`` holds y + u. The dual is bounded by the threshold of the shrinkage where the gradient
    is penalised, and zero at an edge, where it is free.
    """
    split, edges, bit = state
    old_limit, limit, dual_scale, rho, relaxation, inverse = numbers
    for i in range(here.size):
        penalised = ZERO if edges[i] & bit else ONE
        old = min(max(split[i], -old_limit * penalised), old_limit * penalised)
        v = (
            relaxation * (there[i] - here[i]) * inverse
            + (ONE - relaxation) * (split[i] - old)
            + old * dual_scale
        )
        split[i] = v
        u = min(max(v, -limit * penalised), limit * penalised)
        push[i] = rho * inverse * (v - TWO * u)


@njit(cache=True, fastmath=FAST)
def _real_row(image, out):
    for i in range(out.size):
        out[i] = image[i].real


@njit(cache=True, fastmath=FAST)
def _add_to_imaginary_row(image, values):
    for i in range(values.size):
        image[i] += np.complex64(1j) * values[i]


@njit(cache=True, fastmath=FAST)
def _next_rows(image, place, first, rows):
    """Move on to the row at ``place`` and its next neighbours; the image is periodic.

    ``rows`` holds chi here and one voxel on along x, y and z; on entry the one along y is the row
    to move on to. ``first`` holds the first plane and, of this plane, the first row, which are
    overwritten by the time they are neighbours.
    """
    (x, y), (first_plane, first_row) = place, first
    here, next_x, next_y, next_z = rows
    here[:] = next_y
    if y + 1 < image.shape[1]:
        _real_row(image[x, y + 1], next_y)
    else:
        next_y[:] = first_row
    if x + 1 < image.shape[0]:
        _real_row(image[x + 1, y], next_x)
    else:
        next_x[:] = first_plane[y]
    next_z[:-1] = here[1:]
    next_z[-1] = here[0]


@njit(cache=True, fastmath=FAST)
def _write_row(image, data_push, chi, pushes, rho_csf):
    """Write the right-hand sides of a row; each push is taken here and given one voxel on."""
    along_x, along_y, along_z, before_x, before_y = pushes
    for i in range(chi.size):
        rest = rho_csf * chi[i] - along_x[i] - along_y[i] - along_z[i]
        image[i] = np.complex64(complex(data_push[i], rest + before_x[i] + before_y[i]))
    _add_to_imaginary_row(image[1:], along_z[:-1])
    _add_to_imaginary_row(image[:1], along_z[-1:])


@njit(cache=True, fastmath=FAST)
def split(image, data, gradients, edges, numbers):
    """Update the splits of data and gradient; the image becomes the next right-hand sides.

    Parameters
    ----------
    image
        ``chi + i D chi``; becomes ``z - u + i (rho G^H (y - u) + rho_csf chi)``, both over the
        splits z of the data (whose rho is left to ``solve``) and y of the gradient. Periodic, as
        the closed form in k-space needs it; the box leaves room for that.
    data
        Field, energy, z and its dual u, each (x, y, z).
    gradients
        y + u, shape (3, x, y, z).
    edges
        Bit ``axis`` is set where the gradient along that axis is free.
    numbers
        rho, relaxation and dual scale of the data; for each axis, old limit, limit, dual scale,
        rho, relaxation and 1 / voxel size; rho_csf.
    """
    (field, energy, z, dual), (for_data, for_gradient, rho_csf) = data, numbers
    nx, ny, nz = image.shape
    first_plane, first_row = image[0].real.copy(), np.empty(nz, np.float32)
    rows, data_push = np.empty((4, nz), np.float32), np.empty(nz, np.float32)
    # What was pushed on from the row before along x and along y is added when its turn comes.
    plane_pushes, row_pushes = np.zeros((2, ny, nz), np.float32), np.zeros((2, nz), np.float32)
    along_z = np.empty(nz, np.float32)
    for x in range(nx):
        _real_row(image[x, 0], first_row)
        rows[2] = first_row
        row_pushes[:] = ZERO
        for y in range(ny):
            row, bits = image[x, y], edges[x, y]
            _next_rows(image, (x, y), (first_plane, first_row), rows)
            known, state = (field[x, y], energy[x, y]), (z[x, y], dual[x, y])
            _data_row(row, known, state, for_data, data_push)
            along_x, before_x = plane_pushes[x % 2, y], plane_pushes[(x + 1) % 2, y]
            along_y, before_y = row_pushes[y % 2], row_pushes[(y + 1) % 2]
            split_x, split_y = (gradients[0, x, y], bits, 1), (gradients[1, x, y], bits, 2)
            _gradient_row(rows[0], rows[1], split_x, for_gradient[0], along_x)
            _gradient_row(rows[0], rows[2], split_y, for_gradient[1], along_y)
            split_z = (gradients[2, x, y], bits, 4)
            _gradient_row(rows[0], rows[3], split_z, for_gradient[2], along_z)
            pushes = (along_x, along_y, along_z, before_x, before_y)
            _write_row(row, data_push, rows[0], pushes, rho_csf)
        _add_to_imaginary_row(image[x, 0], row_pushes[(ny - 1) % 2])
    for y in range(ny):
        _add_to_imaginary_row(image[0, y], plane_pushes[(nx - 1) % 2, y])


@njit(cache=True)
def csf_mean(image, csf, values, numbers):
    """Return the mean of relaxed chi plus dual over the CSF, to which the split is shrunk."""
    old_pull, dual_scale, relaxation, mean = numbers
    flat, total = image.ravel(), 0.0
    for i in range(csf.size):
        total += _csf_point(flat[csf[i]].real, values[i], old_pull, dual_scale, relaxation, mean)
    return total / max(csf.size, 1)


@njit(cache=True)
def _csf_point(here, v, old_pull, dual_scale, relaxation, mean):
    """Return relaxed chi plus dual in a CSF voxel from the stored v = s + u."""
    s = v + old_pull * (mean - v)
    return relaxation * here + (ONE - relaxation) * s + (v - s) * dual_scale


@njit(cache=True)
def split_csf(image, csf, values, numbers):
    """Update the split s = chi in the CSF by shrinkage to its mean; return s - u - chi there.

    Outside the CSF the split follows chi exactly, so only its quadratic term remains there.
    """
    old_pull, dual_scale, relaxation, mean, pull, new_mean = numbers
    flat = image.ravel()
    push = np.empty(csf.size, np.float32)
    for i in range(csf.size):
        here = flat[csf[i]].real
        v = _csf_point(here, values[i], old_pull, dual_scale, relaxation, mean)
        s = v + pull * (new_mean - v)
        values[i] = v
        push[i] = TWO * s - v - here
    return push


@njit(cache=True, fastmath=FAST)
def solve(spectrum, kernel, lines, numbers):
    """Solve for chi in k-space, in place: the right-hand sides become ``chi + i D chi``.

    The spectra a and b of two real images are parted by their symmetry, a(-k) = conj a(k).
    ``kernel`` is given on the half spectrum and even; ``lines`` hold |G|^2 along each axis.
    """
    nx, ny, nz = spectrum.shape
    lx, ly, lz = lines
    for x in range(nx):
        xm = (nx - x) % nx
        for y in range(ny):
            ym = (ny - y) % ny
            front, back, d = spectrum[x, y], spectrum[xm, ym], kernel[x, y]
            transverse = lx[x] + ly[y]
            pairs, line = (front, back, d), (transverse, lz)
            _solve_pairs(pairs, line, numbers, (1, (nz + 1) // 2))
            # On these two planes k and -k both belong to the half spectrum: once is enough.
            if x < xm or (x == xm and y <= ym):
                _solve_pairs(pairs, line, numbers, (0, 1))
                if nz % 2 == 0:
                    _solve_pairs(pairs, line, numbers, (nz // 2, nz // 2 + 1))


@njit(cache=True, fastmath=FAST)
def _solve_pairs(pairs, lines, numbers, span):
    """Solve for k in the first and -k in the second of two rows along the last axis."""
    front, back, kernel = pairs
    (transverse, lz), (rho_data, rho_gradient, rho_csf) = lines, numbers
    nz = front.size
    for z in range(span[0], span[1]):
        m = nz - z if z else 0
        d = kernel[z]
        stiff = rho_data * d * d + rho_gradient * (transverse + lz[z]) + rho_csf
        share = HALF / stiff if stiff > ZERO else ZERO
        ar, ai, br, bi = front[z].real, front[z].imag, back[m].real, back[m].imag
        real = share * (rho_data * d * (ar + br) + ai + bi)
        imaginary = share * (rho_data * d * (ai - bi) + br - ar)
        front[z] = np.complex64(complex(real - d * imaginary, imaginary + d * real))
        back[m] = np.complex64(complex(real + d * imaginary, d * real - imaginary))
