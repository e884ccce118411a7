#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs the system packages that are missing, and only those: `packages.sh install` for clatnm itself, `deb` for
# Debian packages of it too, `rpm` for rpms, `lab` for the lab, `test` for all of that, the linters and guests under qemu.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
case ${1-} in
install) scopes="install" ;;
deb) scopes="install deb" ;;
rpm) scopes="install rpm" ;;
lab) scopes="install lab" ;;
test) scopes="install deb rpm lab test" ;;
*) echo "usage: packages.sh install|deb|rpm|lab|test" >&2 && exit 2 ;;
esac

# What shows that it is there (a program, or `venv`; `=`: the package; `-`: not there)   Debian, Ubuntu     Fedora            for
table='
    python3            python3            python3           install
    venv               python3-venv       python3           install
    clang              clang              clang             install
    ip                 iproute2           iproute           lab
    nsenter            util-linux         util-linux        lab
    sysctl             procps             procps-ng         lab
    NetworkManager     network-manager    NetworkManager    lab
    dbus-daemon        dbus-daemon        dbus-daemon       lab
    dbus-send          dbus-bin           dbus-tools        lab
    nft                nftables           nftables          lab
    tayga              tayga              tayga             lab
    unbound            unbound            unbound           lab
    dnsmasq            dnsmasq-base       dnsmasq           lab
    curl               curl               curl              lab
    ping               iputils-ping       iputils           lab
    tcpdump            tcpdump            tcpdump           lab
    modprobe           kmod               kmod              lab
    radvd              radvd              radvd             test
    iperf3             iperf3             iperf3            test
    ethtool            ethtool            ethtool           test
    gdbus              libglib2.0-bin     glib2             test
    mmdebstrap         mmdebstrap         mmdebstrap        test
    busybox            busybox-static     busybox           test
    mkfs.ext4          e2fsprogs          e2fsprogs         test
    qemu-system-x86_64 qemu-system-x86    qemu-system-x86   test
    shellcheck         shellcheck         ShellCheck        test
    mandoc             mandoc             mandoc            test
    networkctl         systemd            systemd-networkd  test
    networkd-dispatcher networkd-dispatcher networkd-dispatcher test
    dhcpcd             dhcpcd-base        dhcpcd            test
    unshare            util-linux         util-linux        test
    firewalld          firewalld          firewalld         test
    ufw                ufw                ufw               test
    dunst              dunst              dunst             test
    Xvfb               xvfb               xorg-x11-server-Xvfb test
    node_exporter      prometheus-node-exporter node-exporter test
    zsh                zsh                zsh               test
    fish               fish               fish              test
    git                git                git               test
    rpmbuild           rpm                rpm-build         rpm
    rpmlint            rpmlint            rpmlint           test
    =python3-packaging python3-packaging  -                 rpm
    dpkg-buildpackage  dpkg-dev           -                 deb
    dh                 debhelper          -                 deb
    dh_apparmor        dh-apparmor        -                 deb
    dh_python3         dh-python          -                 deb
    lintian            lintian            -                 test
    pkgconf            pkgconf            -                 deb
    systemd.pc         systemd-dev        -                 deb
    =build-essential   build-essential    -                 deb
    =python3-all       python3-all        -                 deb
    =python3-setuptools python3-setuptools -                deb
    =pybuild-plugin-pyproject pybuild-plugin-pyproject - deb
    apparmor_parser    apparmor           apparmor-parser   test
    checkmodule        checkpolicy        checkpolicy       rpm
    semodule_package   semodule-utils     policycoreutils   rpm
    selinux-devel      selinux-policy-dev selinux-policy-devel rpm
    selinux-policy     selinux-policy-default selinux-policy-targeted test
    secilc             secilc             secilc            test
    sesearch           setools            setools-console   test
    iptables-legacy    iptables           iptables-legacy   test
'

say() { printf '%s\n' "packages: $*"; }

is_here() {
    if [ "$1" = venv ]; then
        "$(tools/python.sh 2>/dev/null)" -c 'import ensurepip, venv' 2>/dev/null
    elif [ "$1" = node_exporter ]; then # Debian has another name for it
        command -v node_exporter prometheus-node-exporter >/dev/null
    elif [ "$1" = selinux-devel ]; then
        [ -e /usr/share/selinux/devel/Makefile ]
    elif [ "$1" = selinux-policy ]; then # a store of modules; nothing is loaded, and nothing switched on
        [ -e /usr/share/selinux/default/base.pp.bz2 ] || [ -d /var/lib/selinux/targeted ]
    elif [ "$1" = systemd.pc ]; then # Debian 12 has it in systemd itself
        [ -e /usr/share/pkgconfig/systemd.pc ]
    elif [ "${1#=}" != "$1" ]; then
        [ "$(dpkg-query -W -f '${db:Status-Status}' "${1#=}" 2>/dev/null)" = installed ]
    else
        command -v "$1" >/dev/null
    fi
}

# The packages still missing, one a line; $1 is the column with this system's names.
missing() {
    while read -r program debian fedora scope; do
        [ -n "$program" ] || continue
        case " $scopes " in *" $scope "*) ;; *) continue ;; esac
        case $1:$fedora in fedora:-) continue ;; esac # only Debian's packages are built with it
        is_here "$program" || case $1 in debian) echo "$debian" ;; fedora) echo "$fedora" ;; esac
    done <<<"$table" | sort -u
}

# Debian starts a daemon as soon as it is installed, and at every boot. The lab starts its own inside of namespaces
# and needs none of that, and a second resolver or network manager would be no favour to a desktop.
apt_install() {
    local policy=/usr/sbin/policy-rc.d package unit
    if [ ! -e "$policy" ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$log" 2>&1 || return 1
    command -v systemctl >/dev/null || return 0
    for package in "$@"; do
        for unit in $(dpkg -L "$package" | sed -n 's|.*/systemd/system/\([^/@]*\.service\)$|\1|p'); do
            systemctl disable --quiet "$unit" >>"$log" 2>&1 || true
        done
    done
}

dnf_install() {
    dnf install -y -q --setopt=install_weak_deps=False "$@" >"$log" 2>&1
}

# All at once; where that fails, one by one, so that one unknown name does not cost the others.
install_all() {
    local package
    "$1" "${@:2}" && return
    for package in "${@:2}"; do
        "$1" "$package" || say "$package cannot be installed: $(grep -m1 -E '^(E:|Error|No match)' "$log" || tail -n1 "$log")"
    done
}

if command -v apt-get >/dev/null; then
    system=debian
elif command -v dnf >/dev/null; then
    system=fedora
else
    system=
fi

mapfile -t absent < <(missing "${system:-debian}")
if [ ${#absent[@]} -eq 0 ]; then
    exit 0
elif [ "$(id -u)" -ne 0 ]; then
    say "not installed, since only root can: ${absent[*]}; what needs them is skipped"
elif [ -z "$system" ]; then
    say "neither apt-get nor dnf is here; install by hand what has Debian's names ${absent[*]}"
else
    say "installing ${absent[*]}"
    log=$(mktemp)
    if [ "$system" = debian ]; then
        apt-get update -qq >"$log" 2>&1 || say "apt-get update: $(tail -n1 "$log")"
        install_all apt_install "${absent[@]}"
    else
        install_all dnf_install "${absent[@]}"
    fi
    rm -f "$log"
    mapfile -t absent < <(missing "$system")
    [ ${#absent[@]} -eq 0 ] || say "still missing: ${absent[*]}; what needs them is skipped"
fi
# Where a machine checks a change, a skipped test is a test nobody runs.
[ ${#absent[@]} -eq 0 ] || [ -z "${CI-}" ]
