# Serves a bundle on a CPU; the same image trains. Not built by the tests, which have no Docker: see docs/export.md.
#
#   docker build --tag llmrec .
#   docker run --rm --publish 127.0.0.1:8000:8000 --env LLMREC_API_KEY=... --volume "$PWD/runs/my_shop/bundle:/bundle:ro" llmrec
#   docker run --rm --volume "$PWD:/work" --workdir /work --user "$(id -u):$(id -g)" llmrec train my_shop --data.target FOLDER

FROM python:3.13-slim-bookworm AS wheel
WORKDIR /source
COPY . .
RUN pip install --no-cache-dir --constraint constraints/python3.12.txt build \
 && python -m build --wheel --outdir /wheel

FROM python:3.13-slim-bookworm
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 XDG_CACHE_HOME=/cache HF_HOME=/cache/huggingface
COPY constraints/python3.12.txt /tmp/constraints.txt
COPY --from=wheel /wheel /tmp/wheel
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt /tmp/wheel/*.whl \
 && rm -r /tmp/wheel /tmp/constraints.txt \
 && useradd --uid 10001 --no-create-home llmrec \
 && install --directory --mode 1777 /cache /work
USER llmrec
WORKDIR /work
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["llmrec"]
CMD ["serve", "/bundle", "--host", "0.0.0.0"]
