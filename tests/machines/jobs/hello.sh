#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Does a guest work at all? The example of a job in shell, and how long a boot takes.
echo "up after $(cut -d' ' -f1 /proc/uptime) s: $(uname -r), $(systemctl --version | head -1)"
failed=0

check() { # NAME COMMAND...
    local name=$1 why
    shift
    if why=$("$@" 2>&1); then
        echo "ok $name"
    else
        echo "not ok $name: $(tail -n1 <<<"$why")"
        failed=1
    fi
}

check clatnm clatnm --version
check bus busctl status org.freedesktop.NetworkManager
check no-network-card test -z "$(find /sys/class/net -mindepth 1 ! -name lo)"
exit $failed
