"""Compiled passes over the volume that the accelerated MEDI solver is made of.

Two real images travel as one complex one, ``chi + i D chi`` on the way out of k-space and the two
right-hand sides on the way in: a complex transform is cheaper than two real ones, and each pass
reads and writes the volume once, in place. A split variable y and its scaled dual u are stored as
one array v = y + u where one follows from the other. The inner loops run over whole planes, have no
branches and write few arrays, so that compilers turn them into vector instructions; for that, too,
division follows NumPy's rules (Python's would look for zeros).

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
# Ratios of successive terms of the Taylor series, for Horner's scheme: (2n)(2n + 1), and (2n -
# 1)(2n) for the cosine.
SINE = tuple(np.float32(1 / d) for d in (6, 20, 42, 72))
COSINE = tuple(np.float32(1 / d) for d in (2, 12, 30, 56, 90))
LEAST_BEND = np.float32(0.2)
"""Lower bound on cos(misfit): keeps a Newton step downhill where the data term curves down."""

# nnan and ninf are left out: a solver that diverged must still show numbers that are not finite.
FAST = {"nsz", "arcp", "contract", "afn", "reassoc"}


@njit(cache=True, fastmath=FAST, error_model="numpy")
def _split_data(image, known, state, numbers, push):
    """Update the split z = D chi of a plane by one Newton step of the data term in each voxel.

    Minimises weight (1 - cos(z - f)) * 2 + rho / 2 (z - v)^2 with v the relaxed simulated field
    plus the dual; ``push`` becomes z - u. Where nothing was measured, z follows v.
    """
    (field, energy), (z, dual), (rho, relaxation, dual_scale) = known, state, numbers
    # Three loops, for a compiler turns a loop into vector instructions only while the arrays it
    # writes are few enough to be checked against all others.
    for i in range(field.size):
        push[i] = relaxation * image[i].imag + (ONE - relaxation) * z[i] + dual[i] * dual_scale
    for i in range(field.size):
        d = z[i] - field[i]
        turns = d / FULL_TURN
        # Rounds by truncation, which vector instructions can do.
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
        # Root of 2 E sin(z - f) + rho (z - v) = 0, linear about the old z; sin = 2 sine cosine.
        e = TWO * energy[i]
        z[i] = (e * (bend * z[i] - TWO * sine * cosine) + rho * push[i]) / (e * bend + rho)
    for i in range(field.size):
        dual[i] = push[i] - z[i]
        # The new dual is v - z, so the next right-hand side z - u is 2 z - v.
        push[i] = TWO * z[i] - push[i]


@njit(cache=True, fastmath=FAST, error_model="numpy")
def _split_gradient(here, there, state, numbers, push):
    """Update the split y = G chi of a plane along one axis; ``push`` becomes rho (y - u) / h.

    ``split`` holds y + u. The dual is bounded by the threshold of the shrinkage where the gradient
    is penalised, and zero at an edge, where it is free.
    """
    split, edges, bit = state
    old_limit, limit, dual_scale, rho, relaxation, inverse = numbers
    for i in range(here.size):
        penalised = ZERO if edges[i] & bit else ONE
        old = min(max(split[i], -old_limit * penalised), old_limit * penalised)
        # Relaxed gradient of chi plus dual, rescaled where the penalty has changed.
        v = (
            relaxation * (there[i] - here[i]) * inverse
            + (ONE - relaxation) * (split[i] - old)
            + old * dual_scale
        )
        split[i] = v
        # Shrinking v by the limit leaves y; what is cut off is the dual. Both need only v.
        u = min(max(v, -limit * penalised), limit * penalised)
        push[i] = rho * inverse * (v - TWO * u)


@njit(cache=True, fastmath=FAST, error_model="numpy")
def _read_real(image, out):
    for i in range(out.size):
        out[i] = image[i].real


@njit(cache=True, fastmath=FAST, error_model="numpy")
def _shift_rows(values, row, out):
    """Bring the next row to each row of a flat plane; the last gets the first."""
    out[:-row] = values[row:]
    out[-row:] = values[:row]


@njit(cache=True, fastmath=FAST, error_model="numpy")
def _shift_voxels(values, row, out):
    """Bring the next voxel of its row to each voxel of a flat plane; the last gets the first."""
    out[:-1] = values[1:]
    for end in range(row - 1, values.size, row):
        out[end] = values[end + 1 - row]


@njit(cache=True, fastmath=FAST, error_model="numpy")
def _give(pushes, before_x, row, rest):
    """Take the pushes of a plane here and give those along its own axes one voxel on."""
    along_x, along_y, along_z = pushes
    for i in range(rest.size):
        rest[i] = before_x[i] - along_x[i] - along_y[i] - along_z[i]
    # Adjoint of the periodic forward difference: each voxel gets what its predecessor pushed. The
    # first row gets it from the last one, and the first voxel of a row from the row's end.
    for i in range(row, rest.size):
        rest[i] += along_y[i - row] + along_z[i - 1]
    for i in range(1, row):
        rest[i] += along_y[rest.size - row + i] + along_z[i - 1]
    rest[0] += along_y[rest.size - row]
    for start in range(0, rest.size, row):
        before = along_z[start - 1] if start else ZERO
        rest[start] += along_z[start + row - 1] - before


@njit(cache=True, fastmath=FAST, error_model="numpy")
def _write(image, real, imaginary):
    for i in range(real.size):
        image[i] = np.complex64(complex(real[i], imaginary[i]))


@njit(cache=True, fastmath=FAST, error_model="numpy")
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
    nx, row = image.shape[0], image.shape[2]
    size = image.shape[1] * row
    # Planes lie flat: long loops keep memory busy. Chi is read ahead by a plane; the first is
    # overwritten by the time it follows the last.
    planes, along_x = np.empty((2, size), np.float32), np.zeros((2, size), np.float32)
    buffers = np.empty((6, size), np.float32)
    # By index: numba takes arrays that come from unpacking for strided ones, which are slow.
    first, there, push = buffers[0], buffers[1], buffers[2]
    along_y, along_z, rest = buffers[3], buffers[4], buffers[5]
    _read_real(image[0].reshape(size), first)
    planes[0] = first
    for x in range(nx):
        chi, beyond = planes[x % 2], planes[(x + 1) % 2] if x + 1 < nx else first
        if x + 1 < nx:
            _read_real(image[x + 1].reshape(size), beyond)
        plane, bits = image[x].reshape(size), edges[x].reshape(size)
        known = field[x].reshape(size), energy[x].reshape(size)
        state = z[x].reshape(size), dual[x].reshape(size)
        _split_data(plane, known, state, for_data, push)
        split_x = gradients[0, x].reshape(size), bits, 1
        _split_gradient(chi, beyond, split_x, for_gradient[0], along_x[x % 2])
        _shift_rows(chi, row, there)
        split_y = gradients[1, x].reshape(size), bits, 2
        _split_gradient(chi, there, split_y, for_gradient[1], along_y)
        _shift_voxels(chi, row, there)
        split_z = gradients[2, x].reshape(size), bits, 4
        _split_gradient(chi, there, split_z, for_gradient[2], along_z)
        _give((along_x[x % 2], along_y, along_z), along_x[(x + 1) % 2], row, rest)
        for i in range(size):
            rest[i] += rho_csf * chi[i]
        _write(plane, push, rest)
    # Plane 0 follows the last plane, whose push was not known when plane 0 was written. The
    # imaginary part holds these right-hand sides.
    last, plane = along_x[(nx - 1) % 2], image[0].reshape(size)
    for i in range(size):
        plane[i] += np.complex64(1j) * last[i]


@njit(cache=True)
def csf_mean(image, csf, values, numbers):
    """Return the mean of relaxed chi plus dual over the CSF, to which the split is shrunk."""
    old_pull, dual_scale, relaxation, mean = numbers
    # In double precision: this mean is the zero of the whole map.
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


@njit(cache=True, fastmath=FAST, error_model="numpy")
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


@njit(cache=True, fastmath=FAST, error_model="numpy")
def _solve_pairs(pairs, lines, numbers, span):
    """Solve for k in the first and -k in the second of two rows along the last axis."""
    front, back, kernel = pairs
    (transverse, lz), (rho_data, rho_gradient, rho_csf) = lines, numbers
    nz = front.size
    for z in range(span[0], span[1]):
        m = nz - z if z else 0
        d = kernel[z]
        stiff = rho_data * d * d + rho_gradient * (transverse + lz[z]) + rho_csf
        # Stiffness is zero only at k = 0 without a CSF term: the mean of chi is then free and set
        # to zero. The half is that of the even and odd parts.
        share = HALF / stiff if stiff > ZERO else ZERO
        ar, ai, br, bi = front[z].real, front[z].imag, back[m].real, back[m].imag
        real = share * (rho_data * d * (ar + br) + ai + bi)
        imaginary = share * (rho_data * d * (ai - bi) + br - ar)
        front[z] = np.complex64(complex(real - d * imaginary, imaginary + d * real))
        back[m] = np.complex64(complex(real + d * imaginary, d * real - imaginary))
