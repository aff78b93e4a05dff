"""What runs, and what a process and all that it has started listen on."""

import ipaddress
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil


def foreign(pid):
    """Who listens beyond the loopback interface, and where; and the number of ports in all."""
    found, ports = [], 0
    top = psutil.Process(pid)
    for process in (top, *top.children(recursive=True)):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            for each in process.net_connections("inet"):
                if each.status == psutil.CONN_LISTEN:
                    ports += 1
                    if not _is_loopback(each.laddr.ip):
                        found.append((process.name(), each.laddr))
    return found, ports


def _is_loopback(text):
    address = ipaddress.ip_address(text)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def processes_with(mark):
    """Ids of living processes whose command line holds the mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # it ended meanwhile
            continue
    return found


def is_free(url):
    """Whether nothing listens at an address."""
    with socket.socket() as attempt:
        target = urlsplit(url)
        return attempt.connect_ex((target.hostname, target.port)) != 0
