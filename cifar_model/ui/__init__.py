"""The app's parts that need Streamlit; nothing outside this package and the pages imports it."""

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

# Beside a folder named pages/, Streamlit ignores the navigation of streamlit_app.py until that has run once: whoever
# opened another page first after a start got the wrong menu. Every page imports this package before all else.
if PagesManager.uses_pages_directory:
    PagesManager.uses_pages_directory = False
    st.rerun()
