# syntax=docker/dockerfile:1
# Build: docker build -t headrace .        Run: docker run -v ./config.yaml:/etc/headrace/config.yaml:ro headrace
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/headrace
COPY requirements/base.txt requirements/run.txt ./requirements/
RUN /opt/headrace/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/base.txt
# The build tool, pinned like the rest, stays in its own environment.
RUN python -m venv /opt/tool \
 && /opt/tool/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md config.yaml ./
COPY service ./service
RUN /opt/tool/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /wheels . \
 && /opt/headrace/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM python:3.11-slim
COPY --from=build /opt/headrace /opt/headrace
ENV PATH=/opt/headrace/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# On the volume, too: what waits in a temporary file may be long, and a /tmp in memory would count as ours.
ENV TMPDIR=/var/lib/headrace
RUN useradd --system --uid 10001 --home-dir /var/lib/headrace --create-home headrace
# The spool and temporary files: the only place that is written to, so that the root file system may be read-only.
VOLUME /var/lib/headrace
WORKDIR /var/lib/headrace
USER 10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('HEADRACE_PORT', '8080') + '/livez', timeout=2)"]
ENTRYPOINT ["headrace"]
CMD ["run", "-c", "/etc/headrace/config.yaml"]
