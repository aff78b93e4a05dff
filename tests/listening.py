"""What a process and all that it has started listen on."""

import ipaddress
from contextlib import suppress

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
