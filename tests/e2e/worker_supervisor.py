# SPDX-License-Identifier: GPL-2.0-or-later
"""A supervisor for the translator process, as small as can be: run in a namespace, told what to do line by line.

    python worker_supervisor.py '{"config": {...}, "device": "clat-t"}'

It opens what needs privileges, hands it over, sets up the device with `ip`, and then passes JSON lines from standard
input to the worker and the worker's messages to standard output. Its own: {"op": "started", "pid"} and, at the
worker's end, {"op": "exit", "status"}. An update with another `clat_v6` also moves the socket's filter there.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from ipaddress import IPv6Address
from typing import Any

from clatnm.kernel.packet_socket import join_solicited_node, open_packet_socket, refilter
from clatnm.kernel.tun import open_tun
from clatnm.worker import wire
from clatnm.worker.wire import WorkerConfig


class Supervisor:
    def __init__(self, config: WorkerConfig, device: str) -> None:
        self.config = config
        self.link_layer = config.link_address is not None
        self.ifindex = socket.if_nametoindex(config.uplink)
        self.uplink = open_packet_socket(self.ifindex, link_layer=self.link_layer, clat_v6=config.clat_v6)
        self.group = join_solicited_node(self.ifindex, config.clat_v6) if self.link_layer else None
        self.control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-I", "-m", "clatnm.worker", "--control-fd", str(its_control.fileno())]
        self.worker = subprocess.Popen(command, pass_fds=[its_control.fileno()])
        its_control.close()
        self.hand_over(device)

    def hand_over(self, device: str) -> None:
        tun = open_tun(device)
        set_up = f"""
            addr add {self.config.clat_v4}/32 dev {device}
            link set dev {device} mtu {self.config.ipv6_mtu_bytes} up
            route add default dev {device} src {self.config.clat_v4} mtu {self.config.ipv6_mtu_bytes - 28}
        """
        with open(f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6", "w") as switch:
            switch.write("1")
        subprocess.run(["ip", "-batch", "-"], input=set_up, text=True, check=True)
        held = [self.group.fileno()] if self.group else []
        wire.send_start(self.control, self.config, [tun.fd, self.uplink.fileno(), *held])
        os.close(tun.fd)
        say(op="started", pid=self.worker.pid)

    def run(self) -> None:
        while True:
            ready, _, _ = select.select([self.control, sys.stdin], [], [])
            if self.control in ready:
                data = self.control.recv(wire.MESSAGE_BYTES)
                if not data:
                    break
                print(data.decode(), flush=True)
            if sys.stdin in ready:
                # unbuffered, so that select() never waits for what was read already
                for line in os.read(sys.stdin.fileno(), wire.MESSAGE_BYTES).splitlines():
                    self.obey(json.loads(line))
        say(op="exit", status=self.worker.wait())

    def obey(self, order: dict[str, Any]) -> None:
        if order["op"] == "update":
            address = IPv6Address(order["config"]["clat_v6"])
            refilter(self.uplink, address, link_layer=self.link_layer)
            if self.group is not None:
                join_solicited_node(self.ifindex, address, sock=self.group)
        self.control.send(json.dumps(order).encode())


def say(**message: Any) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    Supervisor(WorkerConfig.from_json(arguments["config"]), arguments["device"]).run()
