#!/usr/bin/env bash
# run.sh [INPUT OUTPUT]: bfr, from the total to the local field in ppm.
set -euo pipefail
in=${1:-/input} out=${2:-/output}
read -ra direction <<<"$QSMCI_B0_DIR"
bids_qsmthal background "$in/totalfield.nii.gz" --mask "$in/mask.nii.gz" \
  --field-strength "$QSMCI_B0" --field-units ppm \
  --b0-direction "${direction[@]}" --out "$out/localfield.nii.gz"
