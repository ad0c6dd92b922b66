#!/usr/bin/env python3
"""A language model's surprise by transformers and by llama.cpp, with one thread: tokens per CPU second beside the scorer's.

    pip install -r tests/bench/requirements-lm.txt
    python3 tests/bench/lm_peers.py MODEL [TEXTS.jsonl[.zst]] [--tokens 512] [--documents 32] [--repeat 3]
                                    [--peers transformers,llama.cpp]

The requirements take 5.5 GB, since torch's wheel for Linux brings CUDA's libraries, and llama.cpp is compiled (gcc).

MODEL is a directory in Hugging Face form, a GGUF file, `embedded`, or `0.5b`: weights that nobody trained in the shape of
Qwen2.5-0.5B, whose speed is that of the real ones. Each peer is a process of its own with one thread:

    transformers   float32 in torch; a GGUF file's weights are dequantised when they are read
    llama.cpp      through llama-cpp-python, of GGUF files only, on the quantised weights as they are

One document at a time without padding, at most --tokens of it and no more than the model's context, the leading token
included if the model wants one (`add_bos_token`); logits of every position in one tensor, and their cross-entropy. So these
tools are used where no one has written anything else. A document that is too short for a token to be predicted is left out.

Without TEXTS the documents are those of the bench `lm` of the same numbers: token i of document d is (7919 i + 104729 d)
modulo the vocabulary, nothing leads. Then `sum` is to be the bench's `sum`, if the weights are the same.

CPU is user and system time of the process over the scoring loop: no loading, no tokenisation, and one document is scored
before it. Of llama.cpp's on the 0.5B model a ninth is the cross-entropy in NumPy (7.48 s against 6.63 s for `eval` alone, 508
tokens). Tokens are those read. Peak RSS is the process's, the weights and the libraries included; llama.cpp maps the file,
whose pages count.
"""

import argparse
import importlib.metadata
import io
import itertools
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

PEERS = ("transformers", "llama.cpp")
EMBEDDED = pathlib.Path(__file__).resolve().parents[2] / "scorers/data/embedded_lm"
HALF_BILLION = dict(
    vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
    num_key_value_heads=2, max_position_embeddings=32768, rope_theta=1e6, tie_word_embeddings=True,
)  # fmt: skip
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "TQDM_DISABLE": "1"}
ENVIRONMENT = dict.fromkeys(THREADS, "1") | {"TOKENIZERS_PARALLELISM": "false"} | OFFLINE


class Transformers:
    """A model that torch runs: token ids in, the sum of -ln p over them out."""

    def __init__(self, model, tokens):
        import torch
        import transformers

        torch.set_num_threads(1)
        torch.manual_seed(0)
        transformers.logging.set_verbosity_error()
        self.torch, self.path, self.gguf = torch, model, model.suffix == ".gguf"
        auto = transformers.AutoModelForCausalLM
        if str(model) == "0.5b":
            self.lm = auto.from_config(transformers.Qwen2Config(**HALF_BILLION), dtype=torch.float32)
        elif self.gguf:
            self.lm = auto.from_pretrained(model.parent, gguf_file=model.name, dtype=torch.float32)
        else:
            self.lm = auto.from_pretrained(model, dtype=torch.float32)
        self.lm.eval()
        self.vocab = self.lm.config.vocab_size
        self.context = min(tokens, self.lm.config.max_position_embeddings)

    def name(self):
        versions = " ".join(f"{package}-{importlib.metadata.version(package)}" for package in ("transformers", "torch"))
        return f"{versions} f32"

    def encode(self, texts):
        if self.gguf:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(self.path.parent, gguf_file=self.path.name)
            encode = lambda text: tokenizer.encode(text, add_special_tokens=False)
            bos = [tokenizer.bos_token_id] if gguf_adds_bos(self.path) else []
        else:
            from tokenizers import Tokenizer

            embedded = EMBEDDED.parent / "embedded_tokenizer.json"
            tokenizer = Tokenizer.from_file(str(embedded if self.path == EMBEDDED else self.path / "tokenizer.json"))
            encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
            bos = [tokenizer.token_to_id(token)] if (token := leading_token(self.path)) else []
        return [bos + encode(text)[: self.context - len(bos)] for text in texts]

    def nll(self, ids):
        with self.torch.inference_mode():
            ids = self.torch.tensor(ids)
            logits = self.lm(ids[None], use_cache=False).logits[0]
            return self.torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="sum").item()


class LlamaCpp:
    """The same by llama.cpp, on the quantised weights."""

    def __init__(self, model, tokens):
        import llama_cpp
        import numpy

        self.numpy, self.path, self.version = numpy, model, llama_cpp.__version__
        context = int(gguf_value(model, "context_length"))
        self.context = min(tokens, context)
        self.llama = llama_cpp.Llama(
            str(model), n_ctx=self.context, n_batch=self.context, n_ubatch=self.context, n_threads=1, n_threads_batch=1,
            n_gpu_layers=0, logits_all=True, verbose=False,
        )  # fmt: skip
        self.vocab = self.llama.n_vocab()

    def name(self):
        return f"llama.cpp (llama-cpp-python-{self.version}) as quantised"

    def encode(self, texts):
        bos = [self.llama.token_bos()] if gguf_adds_bos(self.path) else []
        encode = lambda text: self.llama.tokenize(text.encode(), add_bos=False, special=False)
        return [bos + encode(text)[: self.context - len(bos)] for text in texts]

    def nll(self, ids):
        self.llama.reset()
        self.llama.eval(ids)
        logits = self.llama.scores[: len(ids) - 1]
        most = logits.max(axis=1, keepdims=True)
        log_sum = self.numpy.log(self.numpy.exp(logits - most).sum(axis=1)) + most[:, 0]
        return float((log_sum - logits[self.numpy.arange(len(ids) - 1), ids[1:]]).sum(dtype=self.numpy.float64))


def leading_token(directory):
    """The token that `tokenizer_config.json` wants before a text; none if it does not say so."""
    path = directory / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    token = config.get("bos_token")
    return (token["content"] if isinstance(token, dict) else token) if config.get("add_bos_token") else None


def gguf_value(path, end):
    from gguf import GGUFReader

    return next((f.contents() for name, f in GGUFReader(path).fields.items() if name.endswith(f".{end}")), None)


def gguf_adds_bos(path):
    return bool(gguf_value(path, "add_bos_token"))


def read_texts(path, count):
    with open(path, "rb") as raw:
        if path.suffix == ".zst":
            import zstandard

            raw = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        lines = io.TextIOWrapper(raw, "utf-8", newline="\n")
        return [json.loads(line)["text"] for line in itertools.islice(lines, count)]


def bench_documents(count, tokens, vocab):
    """What `lm.rs` scores."""
    return [[(i * 7919 + d * 104_729) % vocab for i in range(tokens)] for d in range(count)]


def measure(peer, documents, repeat):
    """Scores `documents` so many times; a line each."""
    peer.nll(documents[0])
    tokens, predicted = sum(map(len, documents)), sum(len(ids) - 1 for ids in documents)
    for _ in range(repeat):
        start = time.process_time()
        total = sum(peer.nll(ids) for ids in documents)
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        print(
            f"{peer.name()}: {len(documents)} documents, {tokens} tokens, {seconds:.1f} CPU s, "
            f"{tokens / seconds:.1f} tokens per CPU second, peak {peak:.0f} MB, mean NLL {total / predicted:.5f}, sum {total:.3f}",
            flush=True,
        )


def run_peer(args):
    peer = {"transformers": Transformers, "llama.cpp": LlamaCpp}[args.only](args.model, args.tokens)
    if args.texts:
        documents = [ids for ids in peer.encode(read_texts(args.texts, args.documents)) if len(ids) > 1]
    else:
        documents = bench_documents(args.documents, peer.context, peer.vocab)
    measure(peer, documents, args.repeat)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("model", type=pathlib.Path)
    args.add_argument("texts", type=pathlib.Path, nargs="?")
    args.add_argument("--tokens", type=int, default=512)
    args.add_argument("--documents", type=int, default=32)
    args.add_argument("--repeat", type=int, default=3)
    args.add_argument("--peers", type=lambda names: names.split(","), default=PEERS)
    args.add_argument("--only", choices=PEERS, help=argparse.SUPPRESS)
    args = args.parse_args()
    args.model = EMBEDDED if str(args.model) == "embedded" else args.model
    if args.texts and str(args.model) == "0.5b":
        sys.exit("0.5b has no tokenizer: give no TEXTS")
    if args.only:
        return run_peer(args)
    # A process a peer: peak RSS, and a thread pool that another library has not made. This one stays small, since a
    # child's peak begins with its parent's.
    failed = 0
    for peer in args.peers:
        if peer == "llama.cpp" and args.model.suffix != ".gguf":
            print("llama.cpp: reads GGUF files only")
            continue
        child = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--only", peer], env=os.environ | ENVIRONMENT)
        failed |= child.returncode
    return int(failed != 0)


if __name__ == "__main__":
    sys.exit(main())
