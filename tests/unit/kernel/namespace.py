# SPDX-License-Identifier: GPL-2.0-or-later
"""A network namespace for one test, as long as the test lasts."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from tests.lab.poll import eventually

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000


def in_new_netns(work: Callable[[], T]) -> T:
    """Run `work` in a thread that has a network of its own, as have all sockets and programs that it starts."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            ip("link set lo up")
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    for error in errors:
        raise error
    return results[0]


def ip(*commands: str) -> None:
    """`ip COMMAND`, one after another."""
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


def ip_batch(*commands: str) -> None:
    """Many `ip COMMAND` at once; no options before them."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands) + "\n", text=True, check=True)


def ip_json(command: str) -> Any:
    """What `ip -j COMMAND` prints, as data."""
    return json.loads(subprocess.run(["ip", "-j", *command.split()], capture_output=True, check=True).stdout or "[]")


def wait_sending(device: str) -> None:
    """A cable's end that was up first drops what it is to send, until the kernel has looked at its carrier."""
    eventually(lambda: ip_json(f"link show {device}")[0]["qdisc"] != "noop", message=f"{device} can send")


def sysctl(name: str, value: int) -> None:
    # Through the calling thread's view: /proc/sys/net is that of whoever opens it.
    with open(f"/proc/sys/net/{name}", "w") as file:
        file.write(f"{value}\n")
