"""Refuse every host but this machine, in any Python that finds this file on its path.

Used by .ci/run only where the operating system can't do it (`unshare -n`): code in C is not held back.
"""

import errno
import ipaddress
import socket

_connect, _connect_ex, _getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo


def _is_here(host) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _refuse(address) -> None:
    if isinstance(address, tuple) and not _is_here(address[0]):
        raise OSError(errno.ENETUNREACH, f"no network here: {address[0]}")


def connect(self, address):
    _refuse(address)
    return _connect(self, address)


def connect_ex(self, address):
    _refuse(address)
    return _connect_ex(self, address)


def getaddrinfo(host, *arguments, **options):
    if not _is_here(host):
        raise socket.gaierror(socket.EAI_NONAME, f"no network here: {host}")
    return _getaddrinfo(host, *arguments, **options)


socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo = connect, connect_ex, getaddrinfo
