# bids_qsmthal as a container: everything inside, nothing fetched at run time.
FROM python:3.11-slim-bookworm AS builder
WORKDIR /src
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY bids_qsmthal ./bids_qsmthal
RUN pip install --no-cache-dir --no-compile -c constraints.txt . \
 && find /opt/venv -name tests -type d -prune -exec rm -rf {} + \
 && find /opt/venv -name __pycache__ -type d -prune -exec rm -rf {} +

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="bids_qsmthal" \
      org.opencontainers.image.description="Thalamic iron in multiple sclerosis: a BIDS App" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"
COPY --from=builder /opt/venv /opt/venv
# Caches of any user, also one without a home, go to /tmp.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    NUMBA_CACHE_DIR=/tmp/numba
RUN useradd --create-home --uid 1000 qsmthal && bids_qsmthal --version
USER qsmthal
WORKDIR /tmp
ENTRYPOINT ["bids_qsmthal"]
