"""The app's parts: what needs Streamlit, and the worker processes, which don't."""
