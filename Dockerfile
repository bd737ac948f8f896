# The sidecar as an image: no root, nothing is written to the file system, probes on port 8064.
#
#   docker build --tag ap-resume-shim .
#   docker run --read-only --publish 8063:8063 ap-resume-shim serve --upstream http://agents.internal:2024 --backend langgraph
#
# Behind a company's proxy, pip needs its configuration: docker build --secret id=pip,src="$HOME/.config/pip/pip.conf" …
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ARG EXTRAS=serve,redis,prometheus
WORKDIR /src
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE ./
COPY ap_resume_shim ap_resume_shim
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv --without-pip /opt/shim \
    && python -m pip --python /opt/shim/bin/python install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]"

FROM python:${PYTHON}-slim
ARG VERSION=0.1.0
ARG REVISION=
ARG SOURCE=
LABEL org.opencontainers.image.title="ap-resume-shim" \
      org.opencontainers.image.description="The Agent Protocol's three resume routes in front of the agent server you already run." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
COPY --from=build /opt/shim /opt/shim
ENV PATH="/opt/shim/bin:${PATH}" \
    PYTHONDONTWRITEBYTECODE=1 \
    AP_RESUME_SHIM_HOST=0.0.0.0 \
    AP_RESUME_SHIM_HEALTH_PORT=8064
USER 65532:65532
EXPOSE 8063 8064
STOPSIGNAL SIGTERM
# The port for probes is plain HTTP, also if clients use TLS or a Unix socket.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "from os import environ as e; from urllib.request import urlopen; urlopen('http://127.0.0.1:' + e['AP_RESUME_SHIM_HEALTH_PORT'] + '/-/healthz')"]
ENTRYPOINT ["ap-resume-shim"]
CMD ["serve"]
