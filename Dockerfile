# Bytecode is compiled in the build, because a server on a read-only file system could not save it and the slim Python image has
# none. It is never compared with its source again (unchecked-hash), because copying between layers changes file times.
ARG COMPILE="python -m compileall -q -j 0 --invalidation-mode unchecked-hash"


FROM python:3.13-slim AS base
ARG COMPILE
RUN $COMPILE -x '/(test|site-packages)/' "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

# NUMBA_*: compile for any processor of the architecture (x86-64 or arm64), not for the one that builds the image. Empty
# features mean "none", not "ask the processor". The kernels' folder is named by a hash of these values, so the server must see
# the values that the build saw. Matplotlib needs a folder that it can write to, which /dev/shm is on a read-only file system too.
# The host is 0.0.0.0 because nothing outside a container can reach its loopback interface.
ENV NUMBA_CPU_NAME=generic \
    NUMBA_CPU_FEATURES="" \
    AUTODIFF_CACHE_DIR=/srv/kernels \
    AUTODIFF_HOST=0.0.0.0 \
    MPLCONFIGDIR=/dev/shm/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PATH=/srv/venv/bin:$PATH
WORKDIR /srv


FROM base AS builder
ARG COMPILE

# The lock has the extras interop and mcp (27 MB): what the README shows should work in the image, to which users cannot add.
# Wheels only: the image has no compiler, so a source package should fail at once and not halfway through its setup script.
# The libraries' own tests are removed; they are a seventh of the size.
COPY requirements.lock .
RUN python -m venv --without-pip venv \
    && /usr/local/bin/python -m pip --python venv/bin/python install \
        --no-cache-dir --no-compile --only-binary :all: --require-hashes -r requirements.lock \
    && find venv -type d -name tests -prune -exec rm -r {} + \
    && $COMPILE venv

# The tool that makes the SBOM has its own environment, which is not copied from this stage.
COPY .ci/sbom .ci/sbom
RUN /usr/local/bin/python -m venv --without-pip /sbom \
    && /usr/local/bin/python -m pip --python /sbom/bin/python install \
        --no-cache-dir --only-binary :all: --require-hashes -r .ci/sbom/requirements.lock

# Compile the kernels here, not at the first start, from the folder in which the server will find their sources. Let every
# user read all files, whatever the umask of the checkout was.
COPY app app
COPY openapi/examples app/examples
RUN $COMPILE app && python -m app.warm && chmod -R a+rX,go-w app kernels

# List what is in the image. The same packages make the same file: it has no date and no serial number.
COPY pyproject.toml .
RUN /sbom/bin/python .ci/sbom/make.py venv >sbom.cdx.json


FROM base
LABEL org.opencontainers.image.title="autodiff-http" \
      org.opencontainers.image.description="Automatic differentiation as a web service" \
      org.opencontainers.image.licenses="MIT"

# What rarely changes comes first, so that a new version of the app is a small layer.
COPY LICENSE .
COPY --from=builder /srv/venv venv
COPY --from=builder /srv/app app
COPY --from=builder /srv/kernels kernels
COPY --from=builder /srv/sbom.cdx.json .

# A number, so that Kubernetes can verify that it is not root. Any other works too: nothing below /srv is written to.
USER 10001:10001

# Fail the build if any kernel is left to compile, as the user and in the folders of the final image.
RUN python -c "from numba.core import event; from app import warm; from app.engine import jit; \
    compiled = event.RecordingListener(); event.register('numba:compile', compiled); warm.warm(); \
    assert jit.IS_COMPLETE and not compiled.buffer, 'kernels are missing'"

EXPOSE 8000
# http.client and not urllib.request, which would use a proxy if the environment names one.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s CMD ["python", "-c", "import http.client, os; \
c = http.client.HTTPConnection('localhost', int(os.environ.get('AUTODIFF_PORT', 8000)), timeout=4); \
c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["python", "-m", "app"]
