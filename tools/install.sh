#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `install.sh install|files|uninstall|purge`, into PREFIX under DESTDIR.
#
# The program lives in an environment of its own, PREFIX/lib/clatnm, because the system's Python belongs to the
# distribution (PEP 668) and its libraries may be older than ours. Nothing else of the system's Python is touched.
# The files around it go where the system's daemons look: /usr/lib with PREFIX=/usr, as in a package; else /etc, which
# is where those daemons look for what an administrator installed.
set -eu
cd "$(dirname "$0")/.."
umask 022
prefix=${PREFIX:-/usr/local}
root=${DESTDIR-}

case $prefix in
/*) ;;
*) echo "error: PREFIX must be an absolute path (PREFIX=/usr/local)" >&2 && exit 2 ;;
esac
# Without a slash at the end, and absolute: they are compared, and looked for in what venv and pip write.
prefix=$(realpath -ms -- "$prefix")
[ -z "$root" ] || root=$(realpath -ms -- "$root")
[ "$root" != / ] || root=
library=$prefix/lib/clatnm

if [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    echo "error: only root can change the system (sudo make ${1-install})" >&2
    exit 1
fi

if [ "$prefix" = /usr ]; then
    lib=/usr/lib dbus=/usr/share/dbus-1/system.d
    systemd=/usr/lib/systemd/system users=/usr/lib/systemd/user networkd=/usr/lib/systemd/network
    # Whoever installs by hand enables it by hand.
    packaged="644 packaging/systemd/90-clatnm.preset /usr/lib/systemd/system-preset/90-clatnm.preset"
else
    packaged=
    lib=/etc dbus=/etc/dbus-1/system.d
    systemd=/etc/systemd/system users=/etc/systemd/user networkd=/etc/systemd/network
fi

# mode, file here, place there
files="
755 nm-dispatcher/90-clatnm              $lib/NetworkManager/dispatcher.d/90-clatnm
644 nm-dispatcher/90-clatnm.conf         $lib/NetworkManager/conf.d/90-clatnm.conf
644 nm-dispatcher/clatnm-option-108.conf $prefix/share/clatnm/clatnm-option-108.conf
644 networkd/10-clatnm.network           $networkd/10-clatnm.network
755 networkd/networkd-dispatcher-clatnm  $prefix/share/clatnm/networkd-dispatcher-clatnm
644 networkd/networkd-mode.conf          $prefix/share/clatnm/networkd-mode.conf
644 networkd/networkd-prefix.conf        $prefix/share/clatnm/networkd-prefix.conf
644 packaging/udev/81-clatnm.rules       $lib/udev/rules.d/81-clatnm.rules
644 packaging/dbus/org.clatnm1.conf      $dbus/org.clatnm1.conf
644 packaging/polkit/org.clatnm1.policy  /usr/share/polkit-1/actions/org.clatnm1.policy
644 packaging/systemd/clatnm.service     $systemd/clatnm.service
644 packaging/sysusers.d/clatnm.conf     $lib/sysusers.d/clatnm.conf
644 packaging/tmpfiles.d/clatnm.conf     $lib/tmpfiles.d/clatnm.conf
644 packaging/systemd/clatnm.catalog     $prefix/lib/systemd/catalog/clatnm.catalog
644 packaging/grafana/clatnm.json        $prefix/share/clatnm/grafana.json
644 packaging/systemd/user/clatnm-notify.service $users/clatnm-notify.service
644 packaging/desktop/clatnm-notify.desktop $prefix/share/clatnm/clatnm-notify.desktop
644 packaging/man/clatnm.8               $prefix/share/man/man8/clatnm.8
644 packaging/man/clatnm-translate.8     $prefix/share/man/man8/clatnm-translate.8
644 packaging/man/clatnm.conf.5          $prefix/share/man/man5/clatnm.conf.5
644 packaging/man/clatnm-static.conf.5   $prefix/share/man/man5/clatnm-static.conf.5
644 packaging/man/org.clatnm1.5          $prefix/share/man/man5/org.clatnm1.5
644 packaging/static-relay.conf          $prefix/share/clatnm/static-relay.conf
644 packaging/apparmor/clatnm            /etc/apparmor.d/clatnm
$packaged
"
# shell, place there: made when they are installed, so that they know every verb and option
completions="
bash $prefix/share/bash-completion/completions/clatnm
zsh  $prefix/share/zsh/site-functions/_clatnm
fish $prefix/share/fish/vendor_completions.d/clatnm.fish
"

each_file() { # COMMAND: called as COMMAND MODE FILE PLACE
    while read -r mode file place; do
        [ -z "$mode" ] || "$1" "$mode" "$file" "$root$place"
    done <<<"$files"
}

# Where `install` says which directories it had to make: they go with it, when nobody else has put anything there.
record=$root$library/made-directories

missing_directories() {
    local mode file place
    {
        while read -r mode file place; do
            [ -z "$mode" ] || printf '%s\n' "$place"
        done <<<"$files"
        while read -r file place; do
            [ -z "$file" ] || printf '%s\n' "$place"
        done <<<"$completions"
        printf '%s\n' "$prefix/bin/clatnm" "$library" /etc/clatnm/static.d/NAME
    } | while read -r place; do
        while place=${place%/*} && [ -n "$place" ] && [ ! -d "$root$place" ]; do
            printf '%s\n' "$place"
        done
    done | sort -u
}

# What is read here was written before the record went away with the program.
remove_directories() {
    local place
    printf '%s\n' "$1" | sort -ru | while read -r place; do
        [ -z "$place" ] || [ ! -d "$root$place" ] || rmdir --ignore-fail-on-non-empty "$root$place"
    done
}

put() {
    install -D -m "$1" "$2" "$3"
}

remove() {
    rm -f "$3"
}

put_completions() {
    local python shell place
    python=$(tools/python.sh)
    while read -r shell place; do
        [ -n "$shell" ] || continue
        install -d -m 755 "$(dirname "$root$place")"
        # Without what is installed for this Python, and without leaving anything in the tree.
        "$python" -I -S -B tools/completions.py "$shell" >"$root$place"
        chmod 644 "$root$place"
    done <<<"$completions"
}

install_files() {
    each_file put
    put_completions
    sed -i "s|/usr/bin/clatnm|$prefix/bin/clatnm|" "$root$systemd/clatnm.service" "$root$users/clatnm-notify.service"
    sed -i "s|/usr/share|$prefix/share|" "$root$prefix/share/clatnm/clatnm-notify.desktop"
    case $prefix in
    /usr | /usr/local) ;;
    *) sed -i "s|/usr/{,local/}|$prefix/|" "$root/etc/apparmor.d/clatnm" ;;
    esac
    # What the administrator wrote stays.
    install -d -m 755 "$root/etc/clatnm/static.d"
    [ -e "$root/etc/clatnm/clatnm.conf" ] || put 644 packaging/clatnm.conf "$root/etc/clatnm/clatnm.conf"
}

install_program() {
    local python source fresh=$library.new
    # The system's own first: the service cannot see one in somebody's home, nor can other users.
    python=$(PATH=/usr/bin:/usr/local/bin:$PATH; command -v "$(tools/python.sh)")
    case $python in
    /root/* | /home/*) echo "error: $python is in a home, where the service cannot use it (install python3)" >&2 && exit 1 ;;
    esac
    source=$(mktemp -d)
    # shellcheck disable=SC2064  # the directory as it is called now
    trap "rm -rf '$source' '$root$fresh'" EXIT
    # Built from a copy: a build inside the tree would leave root's files there, and take in leftovers of earlier ones.
    cp -r pyproject.toml setup.py README.md LICENSE clatnm "$source"
    mkdir -p "$root$prefix/lib" "$root$prefix/bin"
    # Beside the older one, which is in use, and which stays as it is where pip does not get what it asks for.
    rm -rf "$root$fresh"
    "$python" -m venv "$root$fresh"
    "$root$fresh/bin/python" -m pip install --quiet --disable-pip-version-check "${source}[monitor]"
    "$root$fresh/bin/python" -m pip uninstall -qq --yes setuptools pip
    # The libraries' own commands and the activation scripts are nobody's business.
    find "$root$fresh/bin" -type f ! -name clatnm -delete
    # pip has written where the environment is now.
    sed -i "s|$root$fresh|$library|g" "$root$fresh/pyvenv.cfg" "$root$fresh/bin/clatnm"
    rm -rf "$root$library"
    mv "$root$fresh" "$root$library"
    ln -sfn "$library/bin/clatnm" "$root$prefix/bin/clatnm"
}

# The user that translators are; without systemd's tool for it they are nobody.
make_user() {
    [ -z "$root" ] || return 0
    ! command -v systemd-sysusers >/dev/null || systemd-sysusers "$lib/sysusers.d/clatnm.conf"
    ! command -v systemd-tmpfiles >/dev/null || systemd-tmpfiles --create "$lib/tmpfiles.d/clatnm.conf"
}

# AppArmor's profile into the kernel (-r) or out of it (-R), where there is AppArmor.
profile() {
    [ -z "$root" ] && command -v aa-enabled >/dev/null && aa-enabled --quiet || return 0
    apparmor_parser "$1" /etc/apparmor.d/clatnm || true
}

# Tell the daemons that are running about files that came or went.
reread() {
    [ -z "$root" ] && [ -d /run/systemd/system ] || return 0
    systemctl daemon-reload
    udevadm control --reload || true
    journalctl --update-catalog || true
    busctl --quiet call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig || true
    ! systemctl --quiet is-active NetworkManager || nmcli general reload conf || true
}

case ${1-} in
install)
    [ -n "$root" ] || tools/packages.sh install
    made=$(cat "$record" 2>/dev/null || true)
    made+=$'\n'$(missing_directories)
    install_program
    install_files
    printf '%s\n' "$made" >"$record"
    make_user
    profile -r
    reread
    # An older daemon would start translators of this version.
    [ -n "$root" ] || [ ! -d /run/systemd/system ] || systemctl try-restart clatnm.service || true
    [ -n "$root" ] || echo "installed; start it now and at every boot: systemctl enable --now clatnm"
    ;;
files)
    install_files
    ;;
uninstall | purge)
    made=$(cat "$record" 2>/dev/null || true)
    if [ -z "$root" ] && [ -d /run/systemd/system ]; then
        # Not after an earlier `uninstall`: that there is no such unit would look like a fault.
        [ ! -e "$systemd/clatnm.service" ] || systemctl disable --quiet --now clatnm.service || true
        [ ! -e "$users/clatnm-notify.service" ] || systemctl --global disable --quiet clatnm-notify.service || true
    fi
    profile -R
    each_file remove
    while read -r _ place; do
        [ -z "$place" ] || rm -f "$root$place"
    done <<<"$completions"
    rm -rf "$root$library" "$root$library.new"
    rm -f "$root$prefix/bin/clatnm"
    [ ! -d "$root$prefix/share/clatnm" ] || rmdir --ignore-fail-on-non-empty "$root$prefix/share/clatnm"
    if [ "$1" = purge ]; then
        rm -rf "$root/etc/clatnm" "$root/var/lib/clatnm" "$root/run/clatnm"
        # Nobody's files are left behind: it owned none.
        [ -n "$root" ] || ! getent passwd clatnm-translator >/dev/null || userdel clatnm-translator
        # Some systems keep a user's group.
        [ -n "$root" ] || ! getent group clatnm-translator >/dev/null || groupdel clatnm-translator
    fi
    remove_directories "$made"
    reread
    if [ "$1" = purge ]; then echo "removed"; else echo "removed; /etc/clatnm and /var/lib/clatnm stay (make purge)"; fi
    ;;
*)
    echo "usage: install.sh install|files|uninstall|purge" >&2
    exit 2
    ;;
esac
