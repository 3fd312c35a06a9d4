"""The worker processes and what they do: no Streamlit here."""
