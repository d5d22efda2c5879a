# What an inspection station runs: `differnet serve` and `differnet watch`, without torch. See docs/watch.md.
#
#   docker build -t differnet .
#   docker build -t differnet --build-arg ENGINE="openvino>=2025.2" .     # for folders in OpenVINO's format
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
ARG ENGINE="onnxruntime>=1.20"
WORKDIR /src
COPY docker/requirements.txt docker/requirements.txt
RUN python -m venv /opt/differnet \
 && /opt/differnet/bin/pip install --no-cache-dir -r docker/requirements.txt "${ENGINE}"
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/differnet/bin/pip install --no-cache-dir --no-deps . \
 && /opt/differnet/bin/pip uninstall --yes pip

FROM python:${PYTHON}-slim-bookworm
RUN useradd --uid 10001 --create-home differnet \
 && install --directory --owner=differnet --group=differnet /record
COPY --from=build /opt/differnet /opt/differnet
COPY docker/health.py /opt/differnet/health.py
ENV PATH=/opt/differnet/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /record
VOLUME /record
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "/opt/differnet/health.py"]
ENTRYPOINT ["differnet"]
# Keys, since others than this machine can reach a container: `differnet make-key` writes a line of that file.
CMD ["serve", "/model", "--host", "0.0.0.0", "--keys", "/run/secrets/differnet-keys"]
