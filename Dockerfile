# Turnback's image: the locked packages, the sources and their hot modules in C, a user without rights (ADR 0009).
FROM python:3.13-slim AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/turnback
WORKDIR /build
COPY requirements.lock ./
# Every file is checked against the hash in the lock; nothing is resolved or built here.
RUN /opt/turnback/bin/python -m pip install --no-cache-dir --no-deps --only-binary :all: --require-hashes \
    -r requirements.lock

# The hot modules in C, from the very sources that the image holds; without them it would run those.
FROM packages AS compiled
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY requirements-compile.lock pyproject.toml ./
RUN /opt/turnback/bin/python -m pip install --no-cache-dir --no-deps --only-binary :all: --require-hashes \
    -r requirements-compile.lock
COPY app app
RUN /opt/turnback/bin/python -c "from app.cli.dev.compile import command; command()"

FROM python:3.13-slim
# The state folder is made inside the volume, whoever that belongs to.
ENV PATH=/opt/turnback/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TURNBACK_STATE_DIR=/var/lib/turnback/state
RUN groupadd --system --gid 10001 turnback \
    && useradd --system --uid 10001 --gid turnback --no-create-home --home-dir /var/lib/turnback turnback \
    && install --directory --owner turnback --group turnback --mode 0700 /var/lib/turnback
COPY --from=packages /opt/turnback /opt/turnback
WORKDIR /srv/turnback
COPY LICENSE ./
COPY migrations migrations
COPY app app
COPY --from=compiled /build/app/_compiled app/_compiled
USER 10001:10001
EXPOSE 8320 8321 8322
# The ops listener answers in every role.
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8322/livez', timeout=2)"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve"]
