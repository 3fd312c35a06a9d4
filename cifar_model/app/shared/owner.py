"""Who may do what: whoever sits at the machine or knows the teacher's code, whoever started a run, everybody else."""

import hmac
import logging
import os
import re
import secrets
import time
from ipaddress import ip_address
from urllib.parse import urlsplit

import streamlit as st

from cifar_model.app.browser.component import component
from cifar_model.errors import RunError, SettingsError
from cifar_model.runs.hold import is_held
from cifar_model.runs.owners import fingerprint, owner_of
from cifar_model.runs.read import RunInfo

logger = logging.getLogger(__name__)

TEACHER_CODE = "CIFAR_LAB_TEACHER_CODE"
TRAINING = "CIFAR_LAB_TRAINING"
WHO = ("all", "teacher", "off")  # may start trainings on the page
KNOWN = "owner_known"  # session key: the teacher's code was given
SOMEBODY_ELSES = "Only whoever started this run can change it, in the same browser, or the teacher."

_KEY = "visitor_key"  # session key: what tells this visitor's browser from others
_KEPT = "visitor"  # session key of the component that keeps it
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_PROXY_HEADERS = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "Via", "Cf-Connecting-Ip")
_visitor = component("visitor")


def teacher_code() -> str:
    """The teacher's code; empty where none is set."""
    return os.environ.get(TEACHER_CODE, "")


def is_owner() -> bool:
    """Whether this visitor may do everything: with a teacher's code set, who gave it; else who sits at the machine.

    A request that came by a proxy comes from its address, mostly this machine's. Its headers tell it, or the name by
    which the app was asked for, or the page from which the browser opened its connection.
    """
    if st.session_state.get(KNOWN):
        return True
    headers, address = st.context.headers, st.context.ip_address  # None for 127.0.0.1 and ::1
    if teacher_code() or any(header in headers for header in _PROXY_HEADERS):
        return False
    if isinstance(address, str) and not _is_loopback(address):
        return False
    places = {name: headers.get(name) for name in ("Host", "Origin")}
    return all(
        _host(place if name == "Origin" else f"//{place}") in _LOOPBACK for name, place in places.items() if place
    )


def _is_loopback(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _host(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def ask_for_code() -> None:
    """A place for the teacher's code, where one is set; the page is drawn again once it is right."""
    code = teacher_code()
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
    time.sleep(1)  # whoever tries many tries long
    st.error("That is not the code.", icon=":material/lock:")


def remember_visitor() -> None:
    """Have the browser keep this visitor's key, or tell the one that it kept before; draws nothing."""

    def told() -> None:
        key = st.session_state[_KEPT].kept
        if isinstance(key, str) and re.fullmatch("[0-9a-f]{64}", key):
            st.session_state[_KEY] = key

    with st.container(key="lab_visitor"):
        _visitor(key=_KEPT, data={"proposed": _key()}, on_kept_change=told)


def visitor() -> str:
    """The fingerprint of this visitor's key, for the runs that they start."""
    return fingerprint(_key())


def _key() -> str:
    return st.session_state.setdefault(_KEY, secrets.token_hex(32))


def is_mine(run: RunInfo) -> bool:
    """Whether this visitor may change a run: it is theirs, or they may do everything."""
    return is_owner() or owner_of(run.path) == visitor()


def check_mine(run: RunInfo) -> None:
    """RunError where this visitor may not change a run."""
    if not is_mine(run):
        raise RunError(f"{run.name} is somebody else's run. {SOMEBODY_ELSES}")


def who_trains() -> str:
    """CIFAR_LAB_TRAINING: "all" by default, "teacher" or "off"; SettingsError for anything else."""
    who = os.environ.get(TRAINING) or WHO[0]
    if who not in WHO:
        raise SettingsError(f"{TRAINING} is {who!r}: set it to {', '.join(WHO[:-1])} or {WHO[-1]}.")
    return who


def why_not_train() -> str:
    """Why this visitor may start no training, in a sentence; empty where they may."""
    who = who_trains()
    if who == "off":
        return "No training can be started here: whoever runs this app has switched it off."
    if who == "teacher" and not is_owner():
        return "Only the teacher can start a training here."
    return ""


def why_not_resume() -> str:
    """Why this visitor may not go on with a run, in a sentence; empty where they may."""
    if is_held() and not is_owner():
        return "The teacher has paused all training."
    return why_not_train()


@st.cache_resource(show_spinner=False)
def warn_of_strangers() -> None:
    """Say once in the log where others reach the app and nobody has decided what they may do."""
    address = st.get_option("server.address")
    if address in _LOOPBACK or os.environ.get(TEACHER_CODE) or os.environ.get(TRAINING):
        return
    logger.warning(
        "Others can reach this app (it listens on %s), and whoever does may start trainings on this machine. Set "
        "%s=off or %s=CODE to decide who may, or start it with --server.address=localhost to keep it to yourself.",
        address or "all addresses", TRAINING, TEACHER_CODE,
    )  # fmt: skip
