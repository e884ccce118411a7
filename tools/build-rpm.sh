#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `build-rpm.sh [DIRECTORY] [RPMBUILD-OPTION...]`: the source rpm and the rpms into DIRECTORY (dist), the same bytes
# every time. $SOURCES names a directory where the tarball of `make dist` is already. Where rpm has no macros for Python
# packages (Debian), those of packaging/rpm/macros.clatnm-build are used, and .venv in place of packages to build with.
set -eu
cd "$(dirname "$0")/.."
umask 022
out=${1:-dist}
shift || true
python=$PWD/.venv/bin/python

command -v rpmbuild >/dev/null || { echo "error: rpmbuild is not installed (package rpm, on Fedora rpm-build)" >&2 && exit 1; }
# Always the same place, for one build after the other: a source rpm tells where it was built, and each rpm which source
# rpm it came from. It goes with the build, so what they wait for is a lock on the directory around it.
work=/tmp/clatnm-rpm
exec 9</tmp
flock 9
if [ -O "$work" ] && [ ! -L "$work" ]; then # of a build that was killed
    rm -rf "$work"
fi
mkdir -m 700 "$work" 2>/dev/null || { echo "error: $work is somebody else's (remove it)" >&2 && exit 1; }
trap 'rm -rf "$work"' EXIT
sources=${SOURCES-}
if [ -z "$sources" ]; then
    sources=$work/sources
    "$python" tools/dist.py "$sources" >/dev/null
fi

tarball=$(ls "$sources"/clatnm-*.tar.xz 2>/dev/null) || { echo "error: no clatnm-*.tar.xz in $sources (make dist)" >&2 && exit 1; }
# The time of what is in it.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$("$python" -c \
    'import sys, tarfile; print(int(tarfile.open(sys.argv[1]).next().mtime))' "$tarball")}
export SOURCE_DATE_EPOCH

# A build that fails leaves the script that failed.
options=(--define "_topdir $work/top" --define "_tmppath $work" --define "_sourcedir $(realpath "$sources")")
if [ -z "$(rpm --eval '%{?pyproject_wheel}')" ]; then
    # Debian's packages are not in rpm's database, so none that the spec asks for seems to be there.
    [ -e /usr/share/selinux/devel/Makefile ] || options+=(--without selinux)
    printf '#!/bin/sh\nexec %s "$@"\n' "$python" >"$work/python"
    chmod 755 "$work/python"
    options+=(--load packaging/rpm/macros.clatnm-build --define "__python3 $work/python" --nodeps)
fi
log=$work/log
if ! rpmbuild -ba "${options[@]}" "$@" packaging/rpm/clatnm.spec >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "error: rpmbuild failed, as it says above" >&2
    exit 1
fi
mkdir -p "$out"
for made in "$work"/top/SRPMS/*.rpm "$work"/top/RPMS/*/*.rpm; do
    cp "$made" "$out/"
    echo "$out/${made##*/}"
done
