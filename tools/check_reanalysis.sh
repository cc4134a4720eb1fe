#!/usr/bin/env bash
# Run docs/reanalysis.md on a participant of a few voxels: containers-run, rerun, same bytes.
# Needs datalad with datalad-container, git-annex and this package; the "container" is a script
# that runs the package of this environment, so the recipe is tested without an image.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'chmod -R u+w "$place" && rm -rf "$place"' EXIT
export GIT_AUTHOR_NAME=check GIT_AUTHOR_EMAIL=check@example.org
export GIT_COMMITTER_NAME=check GIT_COMMITTER_EMAIL=check@example.org

cd "$repository"
python -c "
from pathlib import Path
from tests import tiny
tiny.write_dataset(Path('$place/study'), 'sub-01')"
datalad create --force "$place/study/bids"
datalad save -d "$place/study/bids" -m "raw data"
datalad create --force "$place/study/labels"
datalad save -d "$place/study/labels" -m "labels"
printf '#!/bin/sh\nexec "$@"\n' >"$place/image" && chmod +x "$place/image"

datalad create -c text2git "$place/analysis"
cd "$place/analysis"
datalad clone -d . "$place/study/bids" sourcedata/raw
datalad clone -d . "$place/study/labels" sourcedata/labels
datalad containers-add qsmthal --url "$place/image" --call-fmt 'sh {img} {cmd}'
datalad containers-run -n qsmthal -m "bids_qsmthal" -i sourcedata/raw -i sourcedata/labels -o derivatives \
  "python -m bids_qsmthal sourcedata/raw derivatives participant -d mine=sourcedata/labels \
   -w $place/work --inversion tkd --background v-sharp --nprocs 1"
first=$(git rev-parse HEAD)
rm -rf "$place/work"
datalad rerun "$first"
changed=$(git diff --name-only "$first" HEAD -- derivatives)
printf 'changed between run and rerun:\n%s\n' "${changed:-nothing}"
# What tells one run from another: the names of logs, times and the manifest of the logs.
if grep -E '\.(nii\.gz|tsv|json|html|svg|png|bib|md)$' <<<"$changed" | grep -v /logs/; then
  echo "results differ" >&2
  exit 1
fi
