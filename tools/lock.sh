#!/usr/bin/env bash
# Writes what the container installs, each file with its hash: requirements.lock (the app) and
# requirements-build.lock (what builds it). constraints.txt says which versions; this adds hashes.
# Needs uv (pip install uv).
set -euo pipefail
cd "$(dirname "$0")/.."

lock() {  # lock FILE WHAT...
  local file=$1
  shift
  {
    echo "# Made by tools/lock.sh from constraints.txt: the same versions, with hashes."
    "${UV:-uv}" pip compile "$@" --constraint constraints.txt --generate-hashes --quiet \
      --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-annotate --no-header
  } >"$file.new"
  mv "$file.new" "$file"
}

lock requirements.lock pyproject.toml --extra container
printf '%s\n' setuptools wheel cyclonedx-bom | lock requirements-build.lock -
