#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `build-deb.sh [DIRECTORY]`: Debian packages into DIRECTORY (default: dist), out of a copy of the tree in which
# packaging/debian is where dpkg-buildpackage looks for it. The same sources give the same bytes, whenever and wherever.
# Unit tests are left out, as `make test` runs them; with DEB_BUILD_OPTIONS= (empty) they are run. The whole story of the
# build is in DIRECTORY/clatnm_*.build.
set -eu
cd "$(dirname "$0")/.."
# The system's own Python and tools, whatever else there is: what they are goes into the package.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
umask 022
out=${1:-dist}

for need in dpkg-buildpackage:dpkg-dev dh:debhelper; do
    command -v "${need%:*}" >/dev/null ||
        { echo "error: ${need%:*} is not installed (apt-get install ${need#*:})" >&2 && exit 1; }
done

version=$(dpkg-parsechangelog -l packaging/debian/changelog -S Version)
scratch=$(mktemp -d)
# shellcheck disable=SC2064  # the directory as it is called now
trap "rm -rf '$scratch'" EXIT
source=$scratch/clatnm-${version%-*}
mkdir -p "$source" "$out"

# The files of a release, as `make dist` has them.
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -l packaging/debian/changelog -S Timestamp)
export SOURCE_DATE_EPOCH
python3 -B -c 'import pathlib, sys
sys.path.insert(0, "tools")
import dist
files = dist.sources()
dist.stage(files, pathlib.Path(sys.argv[1]), dist.epoch(files))' "$source"
mv "$source/packaging/debian" "$source/debian"

export DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS-nocheck}"
case " $DEB_BUILD_OPTIONS " in *" nocheck "*) export DEB_BUILD_PROFILES="${DEB_BUILD_PROFILES-} nocheck" ;; esac
story=$scratch/clatnm_${version}.build
if ! (cd "$source" && dpkg-buildpackage -us -uc -b) >"$story" 2>&1; then
    tail -n 30 "$story" >&2
    echo "error: the packages cannot be built (the lines above say why)" >&2
    exit 1
fi
for made in "$scratch"/clatnm*_"$version"[_.]*; do
    install -m 644 "$made" "$out"
    case $made in *.deb) echo "$out/${made##*/}" ;; esac
done
