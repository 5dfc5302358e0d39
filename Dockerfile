# Bytecode is made in the build: a server on a read-only file system could not keep it, and the slim Python comes without.
# It is never compared with its source again (unchecked-hash), because times of files change on the way through layers.
ARG COMPILE="python -m compileall -q -j 0 --invalidation-mode unchecked-hash"


FROM python:3.13-slim AS base
ARG COMPILE
RUN $COMPILE -x '/(test|site-packages)/' "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

# NUMBA_*: machine code for any processor of the architecture (x86-64 or arm64), not for the one that builds the image;
# empty features are "none", not "ask the processor". The kernels' folder is named by a hash of these values, so the server
# has to see what the build saw. A container's own loopback is of no use to anybody, hence the host.
ENV NUMBA_CPU_NAME=generic \
    NUMBA_CPU_FEATURES="" \
    AUTODIFF_CACHE_DIR=/srv/kernels \
    AUTODIFF_HOST=0.0.0.0 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PATH=/srv/venv/bin:$PATH
WORKDIR /srv


FROM base AS builder
ARG COMPILE

# Wheels only: without a compiler this should fail at once, not halfway through somebody's setup script. The libraries'
# own tests, which are left out, are a seventh of the whole.
COPY requirements.lock .
RUN python -m venv --without-pip venv \
    && /usr/local/bin/python -m pip --python venv/bin/python install \
        --no-cache-dir --no-compile --only-binary :all: --require-hashes -r requirements.lock \
    && find venv -type d -name tests -prune -exec rm -r {} + \
    && $COMPILE venv

# Kernels are compiled here, not at the first start, and from the place where the server will find their sources.
# Any user may read all of it, whatever the umask was where the sources come from.
COPY app app
COPY openapi/examples app/api/examples
RUN $COMPILE app && python -m app.warm && chmod -R a+rX,go-w app kernels


FROM base
LABEL org.opencontainers.image.title="autodiff-http" \
      org.opencontainers.image.description="Automatic differentiation as a web service" \
      org.opencontainers.image.licenses="MIT"

# What changes seldom comes first, so that a new version of the app is a small layer.
COPY LICENSE .
COPY --from=builder /srv/venv venv
COPY --from=builder /srv/app app
COPY --from=builder /srv/kernels kernels

# A number, so that Kubernetes can see that it is not root. Any other will do: nothing below /srv is ever written.
USER 10001:10001

# The build fails if anything at all is left to compile, asked as the user and from the folders of the final image.
RUN python -c "from numba.core import event; from app import warm; from app.engine import jit; \
    made = event.RecordingListener(); event.register('numba:compile', made); warm.warm(); \
    assert jit.IS_COMPLETE and not made.buffer, 'kernels are missing'"

EXPOSE 8000
# Not urllib, which would ask a proxy if the environment names one.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s CMD ["python", "-c", "import http.client, os; \
c = http.client.HTTPConnection('localhost', int(os.environ.get('AUTODIFF_PORT', 8000)), timeout=4); \
c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["python", "-m", "app"]
