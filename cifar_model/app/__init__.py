"""The app's parts: the only Streamlit imports, and the worker processes, which have none."""
