// The world in which slices are cut: that of the scan, or one in which the head lies straight.

const product = (one, other) => one.map((row) => other[0].map((_, at) =>
  row.reduce((sum, value, step) => sum + value * other[step][at], 0)));

// A point in mm where a matrix takes it; without one it stays.
export const moved = (matrix, mm) => (matrix
  ? product(matrix, [...mm.map((value) => [value]), [1]]).slice(0, 3).map(([value]) => value)
  : mm);

// Where a map lies for the eye. What is drawn is of its voxels, and they are not touched.
export const placed = (map, matrix) => {
  map.setAffine(matrix ? product(matrix, map.originalAffine) : map.originalAffine);
  return map;
};

// The way back of a turn and a shift.
export const inverse = (matrix) => {
  if (!matrix) { return null; }
  const turn = [0, 1, 2].map((row) => [0, 1, 2].map((column) => matrix[column][row]));
  const shift = [0, 1, 2].map((row) => -turn[row].reduce((sum, value, at) => sum + value * matrix[at][3], 0));
  return [...turn.map((row, at) => [...row, shift[at]]), [0, 0, 0, 1]];
};
