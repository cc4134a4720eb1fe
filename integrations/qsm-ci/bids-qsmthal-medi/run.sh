#!/usr/bin/env bash
# run.sh [INPUT OUTPUT]: dipole, from the local field in ppm to susceptibility in ppm.
set -euo pipefail
in=${1:-/input} out=${2:-/output}
read -ra direction <<<"$QSMCI_B0_DIR"
bids_qsmthal invert "$in/localfield.nii.gz" --mask "$in/mask.nii.gz" \
  --magnitude "$in/magnitude.nii.gz" --field-strength "$QSMCI_B0" --field-units ppm \
  --b0-direction "${direction[@]}" --out "$out/chimap.nii.gz"
