"""The app's entry: `streamlit run streamlit_app.py`. Page settings and navigation, nothing else."""

import streamlit as st

st.set_page_config(page_title="CIFAR-10 lab", page_icon="assets/icon.png", layout="wide")
st.logo("assets/icon.png", size="large")

page = st.navigation(
    [
        st.Page("pages/classify.py", title="Classify", icon=":material/image_search:", default=True),
        st.Page("pages/blend.py", title="Blend", icon=":material/gradient:"),
        st.Page("pages/live.py", title="Live", icon=":material/videocam:"),
        st.Page("pages/train.py", title="Train", icon=":material/model_training:"),
        st.Page("pages/models.py", title="Models", icon=":material/query_stats:"),
    ],
    position="top",
)
page.run()
