# One image for every role: `web`, `worker`, `migrate`, or any other command of ./reprieve.
# BASE may be any Debian 12 or newer, or a derivative with Python 3.11. Its packages are not pinned, so that a rebuild
# brings its security updates; what we add is pinned by hash in requirements.lock.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 python3-pip \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/reprieve
COPY reprieve requirements.lock ./
RUN ./reprieve install

FROM ${BASE}
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* \
 && ln -s /opt/reprieve/reprieve /usr/local/bin/reprieve \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/reprieve reprieve \
 && install --directory --owner=10001 --group=10001 /var/lib/reprieve
COPY --from=build /opt/reprieve /opt/reprieve
COPY billing /opt/reprieve/billing
COPY config /opt/reprieve/config
COPY migrations /opt/reprieve/migrations
COPY sandbox /opt/reprieve/sandbox
COPY worker /opt/reprieve/worker
RUN /opt/reprieve/.venv/bin/python -m compileall -q /opt/reprieve

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    REPRIEVE_WEB_HOST=0.0.0.0 \
    REPRIEVE_LOG_FORMAT=json
USER 10001:10001
WORKDIR /var/lib/reprieve
VOLUME /var/lib/reprieve
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
  CMD ["/opt/reprieve/.venv/bin/python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('REPRIEVE_WEB_PORT', '8080') + '/healthz', timeout=4)"]
ENTRYPOINT ["reprieve"]
CMD ["web"]
