"""What every room stands on: errors, files, NIfTI, grids and images as values."""
