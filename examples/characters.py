"""A network that writes: it reads English one symbol at a time, and learns which symbol comes next.

    python examples/characters.py [--epochs 10] [--length 1000] [--temperature 0.5] [--seed 1] [--batches 3]

The text is one that every Python carries, its own documentation. Excerpts of 1000 symbols are trained on in pieces of
50, by truncated backpropagation: the two LSTM begin a piece with the state that the piece before it left. Then the
network writes: it is given the symbol that it wrote last, and its state goes on. Ten epochs take two minutes on one
core, and then 19 of 20 words are words of the text. A low temperature is safe and dull, a high one lively and wrong.
"""

import argparse
import re
import textwrap
import time
from collections import Counter
from pydoc_data.topics import topics

import numpy as np

from minidl import InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.data import ArrayDataSetIterator
from minidl.layers import LSTM, RnnOutputLayer
from minidl.threads import blas_threads
from minidl.training import Adam, ExponentialSchedule

EXCERPT, PIECE, BATCH_SIZE, RARE = 1000, 50, 16, 50


def documentation():
    """Return the paragraphs of prose in Python's documentation, each once, without symbols that are rare."""
    paragraphs = (" ".join(part.split()) for topic in topics.values() for part in re.split(r"\n\s*\n", topic))
    text = "\n".join(dict.fromkeys(part for part in paragraphs if re.fullmatch(r"[A-Z*][^=>]*\.", part)))
    counts = Counter(text)
    return "".join(symbol for symbol in text if counts[symbol] >= RARE)


def writer(n_symbols, seed):
    """Return an untrained network from symbols to the chances of the next; time comes before the symbols, "NWC"."""
    configuration = NeuralNetConfiguration(
        seed=seed,
        updater=Adam(ExponentialSchedule("epoch", 5e-3, 0.9)),
        gradient_normalization="ClipL2PerLayer",
        backprop_type="truncated_bptt",
        tbptt_fwd_length=PIECE,
    ).list(
        LSTM(n_out=200),
        LSTM(n_out=200),
        RnnOutputLayer(n_out=n_symbols, activation="softmax", loss="mcxent"),
        input_type=InputType.recurrent(n_symbols, format="NWC"),
    )
    return MultiLayerNetwork(configuration).init()


def write(network, symbols, length, temperature, rng):
    """Return ``length`` symbols that the network writes; the loop uses the same three arrays all the time."""
    last, chances, sums = (np.zeros((1, len(symbols)), np.float32) for _ in range(3))
    network.rnn_clear_previous_state()
    code, text = symbols.index("\n"), []  # as at the start of a paragraph
    for _ in range(length):
        last.fill(0)
        last[0, code] = 1
        network.rnn_time_step(last, out=chances)
        np.divide(chances, chances.max(), out=chances)
        np.power(chances, 1 / temperature, out=chances)
        np.cumsum(chances, axis=1, out=sums)
        code = min(int(np.searchsorted(sums[0], rng.random() * sums[0, -1], side="right")), len(symbols) - 1)
        text.append(symbols[code])
    return "".join(text)


def batches_of(text, symbols, count, seed):
    """Return an iterator over excerpts, ``count`` batches of them (None: all), and the symbols that come next."""
    codes = np.array([symbols.index(symbol) for symbol in text])
    starts = np.arange(0, len(codes) - EXCERPT, EXCERPT)[: None if count is None else count * BATCH_SIZE]
    places = starts[:, np.newaxis] + np.arange(EXCERPT)  # (excerpts, time)
    features = np.eye(len(symbols), dtype=np.uint8)[codes[places]]  # (excerpts, time, symbols)
    return ArrayDataSetIterator(features, codes[places + 1], BATCH_SIZE, shuffle=True, seed=seed, drop_last=True)


def share_of_words(text, known):
    """Return the share of words in ``known``, of those with four letters or more in ``text``."""
    words = re.findall(r"[A-Za-z]{4,}", text) or [""]
    return sum(word in known for word in words) / len(words)


def main():
    parser = argparse.ArgumentParser(description="A network that learns to write.")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--length", type=int, default=1000, help="symbols to write in the end")
    parser.add_argument("--temperature", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batches", type=int, help="batches to train on (all)")
    options = parser.parse_args()
    if min(value for value in vars(options).values() if value is not None) <= 0:
        parser.error("all options must be above 0")

    text, rng = documentation(), np.random.default_rng(options.seed)
    symbols = "".join(sorted(set(text)))
    network = writer(len(symbols), options.seed)
    print(f"{len(text):,} symbols, {len(symbols)} different ones; {network.num_params():,} parameters")
    batches, start = batches_of(text, symbols, options.batches, options.seed), time.perf_counter()
    for epoch in range(1, options.epochs + 1):
        network.fit(batches)
        line, seconds = write(network, symbols, 60, options.temperature, rng), time.perf_counter() - start
        print(f"epoch {epoch}, {seconds:.0f} s, loss {network.score() / PIECE:.2f} per symbol: {line!r}")

    start = time.perf_counter()
    written = write(network, symbols, options.length, options.temperature, rng)
    microseconds = 1e6 * (time.perf_counter() - start) / options.length
    print("", *(textwrap.fill(paragraph, 100) for paragraph in written.splitlines()), "", sep="\n")
    known, letters = set(re.findall(r"[A-Za-z]+", text)), "".join(rng.choice(list(text), options.length))
    shares = share_of_words(written, known), share_of_words(letters, known)
    print("words that are in the text: {:.3f}; where letters are drawn at random: {:.3f}".format(*shares))
    print(f"time to write a symbol: {microseconds:.0f} us\n")
    print(network.memory_report(BATCH_SIZE, timesteps=PIECE))


if __name__ == "__main__":
    with blas_threads(1):  # the products of a step are small: a second thread gains nothing, and waits busily
        main()
