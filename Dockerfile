# bids_qsmthal as a container: everything inside, nothing fetched at run time, any user.
# A release names its base by digest: --build-arg BASE=python@sha256:...
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS builder
WORKDIR /src
# Code is compiled for one kind of processor (2013 and later), so that it serves every machine.
ENV NUMBA_CPU_NAME=x86-64-v3 \
    NUMBA_CPU_FEATURES="" \
    SOURCE_DATE_EPOCH=0
RUN python -m venv /opt/build \
 && python -m venv --without-pip /opt/venv
COPY requirements-build.lock requirements.lock ./
RUN /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock \
 && /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --require-hashes \
      --wheel-dir /wheels -r requirements.lock \
 && /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-index --no-deps \
      /wheels/*.whl \
 && find /opt/venv/lib -type d \( -name tests -o -name test \) -prune -exec rm -rf {} + \
 && rm -rf /wheels
COPY pyproject.toml README.md LICENSE ./
COPY bids_qsmthal ./bids_qsmthal
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-index --no-deps \
      /wheels/*.whl \
 && /opt/build/bin/pip --python /opt/venv/bin/python check
COPY tools/precompile.py ./tools/
RUN /opt/venv/bin/python tools/precompile.py /opt/venv/share/bids_qsmthal/caches \
 && /opt/build/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
      --output-file /opt/venv/share/bids_qsmthal/sbom.cdx.json /opt/venv/bin/python

FROM ${BASE}
ARG VERSION=1.0.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="bids_qsmthal" \
      org.opencontainers.image.description="Thalamic iron in multiple sclerosis: a BIDS App" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="MIT"
COPY --from=builder /opt/venv /opt/venv
# Linear algebra for that processor, too: kernels for newer ones sum in another order, and the last
# digits of a map would depend on the machine.
ENV PATH=/opt/venv/bin:$PATH \
    NUMBA_CPU_NAME=x86-64-v3 \
    NUMBA_CPU_FEATURES="" \
    OPENBLAS_CORETYPE=Haswell \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1000 qsmthal \
 && bids_qsmthal --version
USER 1000
WORKDIR /tmp
ENTRYPOINT ["bids_qsmthal"]
