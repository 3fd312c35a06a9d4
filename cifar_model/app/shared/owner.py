"""Who may bring files that stay: whoever sits at the machine, or knows the teacher's code."""

import hmac
import os

import streamlit as st

TEACHER_CODE = "CIFAR_LAB_TEACHER_CODE"
KNOWN = "owner_known"  # session key: the teacher's code was given

_LOOPBACK = {"localhost", "127.0.0.1", "[::1]", "::1"}
_PROXY_HEADERS = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "Via", "Cf-Connecting-Ip")


def is_owner() -> bool:
    """Whether this visitor sits at the machine itself, or has given the teacher's code.

    A request that came by a proxy comes from its address, mostly this machine's: its headers tell it, or the name by
    which the app was asked for.
    """
    if st.session_state.get(KNOWN):
        return True
    headers = st.context.headers
    if st.context.ip_address is not None or any(header in headers for header in _PROXY_HEADERS):
        return False
    host = headers.get("Host")
    return host is None or host.rpartition(":")[0] in _LOOPBACK or host in _LOOPBACK


def ask_for_code() -> None:
    """A place for the teacher's code, where one is set; the page is drawn again once it is right."""
    code = os.environ.get(TEACHER_CODE, "")
    if not code:
        st.caption(
            "Only who sits at this machine can do this here. Whoever runs the app can allow it with a code: "
            f"`{TEACHER_CODE}`."
        )
        return
    given = st.text_input("The teacher's code", type="password", key="owner_code", width=320)
    if not given:
        return
    if hmac.compare_digest(given.encode(), code.encode()):
        st.session_state[KNOWN] = True
        st.rerun()
    st.error("That is not the code.", icon=":material/lock:")
