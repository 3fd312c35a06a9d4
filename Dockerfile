# The app in a container:
#   docker build -t cifar10-lab .
#   docker run --rm -p 8501:8501 -v cifar10-lab:/data cifar10-lab
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 \
    CIFAR_LAB_RUNS=/data/runs \
    CIFAR_LAB_CACHE=/data/cache \
    KERAS_HOME=/data/keras

# Runs, caches and a downloaded CIFAR-10 live in the volume /data; nothing else is ever written.
RUN useradd --create-home --uid 1000 lab \
    && mkdir /data \
    && chown lab /data
VOLUME /data
WORKDIR /lab

# The packages first: their layer stays while the code changes.
COPY requirements.txt .
RUN pip install --no-cache-dir --requirement requirements.txt
COPY . .

USER 1000
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
CMD ["python", "-m", "streamlit", "run", "streamlit_app.py", "--server.address=0.0.0.0", "--server.headless=true"]
