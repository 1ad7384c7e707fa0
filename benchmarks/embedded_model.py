"""The embedded model through ipyllm and through xllamacpp directly: the same prompt, alternating, one at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

from benchmarks.report import Claim, median

_ROUNDS = 4
_PROMPT = "Write a long story about a lighthouse keeper and the sea."
_TOKENS = 200

_DIRECT = """
import json, sys, time, urllib.request
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.port, params.verbosity = 8192, 0, 0
start = time.perf_counter()
server = xllamacpp.Server(params)
load = time.perf_counter() - start

def ask(seed):
    body = {"messages": [{"role": "user", "content": PROMPT + " " * seed}], "max_tokens": TOKENS, "temperature": 0,
            "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}}
    request = urllib.request.Request(server.listening_address + "/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    start, first, last, usage = time.perf_counter(), None, None, None
    for line in urllib.request.urlopen(request):
        if line.startswith(b"data: {"):
            chunk = json.loads(line[6:])
            usage = chunk.get("usage") or usage
            if chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                last = time.perf_counter()
                first = first or last
    return first - start, usage["completion_tokens"] / (last - first)

results = [ask(seed) for seed in range(4)]
print(json.dumps({"load": load, "runs": results}), flush=True)
import os
os._exit(0)
"""
_OURS = """
import json, time
from ipyllm import LocalService
service = LocalService(max_tokens=TOKENS, temperature=0, extra_body={"ignore_eos": True})
def ask(seed):
    response = service.chat(PROMPT + " " * seed)
    return response.timing.ttft_s, response.timing.output_tps, response.cold
start = time.perf_counter()
runs = [ask(seed) for seed in range(4)]
from ipyllm import embedded
print(json.dumps({"load": embedded.get(embedded.resolve("smollm2-135m")).load_s, "runs": runs}), flush=True)
"""


def _run(code: str, *arguments: str) -> dict:
    source = f"PROMPT, TOKENS = {_PROMPT!r}, {_TOKENS}\n" + code
    with tempfile.TemporaryDirectory() as home:
        env = os.environ | {"IPYLLM_LEDGER": f"{home}/ledger.sqlite"}
        done = subprocess.run(
            [sys.executable, "-c", source, *arguments], capture_output=True, text=True, check=False, env=env
        )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure() -> list[Claim]:
    from ipyllm import embedded

    path = str(embedded.resolve("smollm2-135m"))
    direct, ours = [], []
    for _ in range(_ROUNDS):
        direct.append(_run(_DIRECT, path))
        ours.append(_run(_OURS))
    load = median(run["load"] for run in ours)
    first = median(call[0] for run in ours for call in run["runs"])
    first_direct = median(call[0] for run in direct for call in run["runs"])
    rate = median(call[1] for run in ours for call in run["runs"][1:])
    rate_direct = median(call[1] for run in direct for call in run["runs"][1:])
    load_direct = median(run["load"] for run in direct)
    return [
        Claim("embedded model: load", load, 1.0, "s", f"xllamacpp directly {load_direct:.2f} s"),
        Claim("embedded model: first token", first * 1e3, 200, "ms", f"xllamacpp directly {first_direct * 1e3:.0f} ms"),
        Claim(
            "embedded model: tokens/s over xllamacpp's own",
            rate / rate_direct,
            0.95,
            "×",
            f"{rate:.0f} against {rate_direct:.0f} tokens/s",
            at_least=True,
        ),
    ]
