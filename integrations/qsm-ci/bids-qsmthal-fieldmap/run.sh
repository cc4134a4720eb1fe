#!/usr/bin/env bash
# run.sh [INPUT OUTPUT]: field-mapping, from phase and magnitude to the total field in ppm.
set -euo pipefail
in=${1:-/input} out=${2:-/output}
read -ra direction <<<"$QSMCI_B0_DIR"
read -ra times <<<"$QSMCI_TE"
bids_qsmthal unwrap "$in/phase.nii.gz" --magnitude "$in/magnitude.nii.gz" --mask "$in/mask.nii.gz" \
  --echo-times "${times[@]}" --field-strength "$QSMCI_B0" --field-units ppm \
  --b0-direction "${direction[@]}" --out "$out/totalfield.nii.gz"
