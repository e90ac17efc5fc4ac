"""A tour of workspaces: memory for work that repeats, with ordinary NumPy code inside.

    python examples/workspaces_tour.py [--quick]

With --quick the last step runs fewer cycles.
"""

import queue
import sys
import threading
import time

import numpy as np

import minidl
from minidl import nd
from minidl.errors import StaleArrayError, WorkspaceFullError
from minidl.workspaces import Workspace, WorkspaceConfiguration, workspace_manager

CYCLES = 20 if "--quick" in sys.argv[1:] else 200

print("1. What is computed from an array in a workspace lands in the current workspace.")
with minidl.workspace("LOOP", initial_size=1 << 20) as loop:
    x = loop.create((128, 10))
    y = np.tanh(x @ np.ones((10, 5), "f4") + 1.0)
    print(f"   y: {type(y).__name__}, attached: {y.is_attached}; bytes used: {loop.offset:,}")

print("2. When the scope closes its arrays are gone, and using one raises instead of lying.")
try:
    y + 1
except StaleArrayError as error:
    print(f"   {error.code}: {str(error)[:91]}...")

print("3. To keep a result, detach it. To keep it for the outer loop, leverage it to the outer workspace.")
with minidl.workspace("OUTER", initial_size=1 << 20) as outer:
    total = outer.create(5)
    for _ in range(3):
        with loop:
            y = np.tanh(loop.create((128, 5)) + 1.0)
            total += y.sum(0)  # written into an array that lives longer: nothing to keep
            best = y.max(0).leverage_to("OUTER")
            kept = y.mean(0).detach()
    print(f"   total {total[0]:.1f} and best {best[0]:.3f} are valid in OUTER: {total.in_scope and best.in_scope}")
print(f"   kept {kept[0]:.3f} is valid for ever: {type(kept).__name__}; so is a copy: {type(kept.copy()).__name__}")

print("4. Without a size a workspace learns it: the first cycle lies on the heap, the others in one buffer.")
learning = Workspace(WorkspaceConfiguration(policy_allocation="STRICT"), "LEARNING")
for cycle in range(2):
    with learning:
        nd.ones((64, 64)) * 2.0
        print(f"   cycle {cycle}: buffer {learning.current_size:,} bytes, spilled {learning.spilled_size:,}")

print("5. cap() guards a warm loop: whatever asks for more than before raises, with the place that asked.")
learning.cap()
try:
    with learning:
        nd.ones((256, 64)) * 2.0
except WorkspaceFullError as error:
    print(f"   {error.code}: {str(error)[: str(error).index(': the array')]} ...")

print("6. scratch() gives its bytes back at once, for a loop inside of a cycle.")
with loop:
    y = loop.create(10_000)
    for _ in range(100):
        with loop.scratch():
            y += np.tanh(y * 0.5) + 1.0  # the temporaries lie in the same bytes in every round
    print(f"   bytes used after 100 rounds: {loop.offset:,}; most at one time: {loop.this_cycle_allocations:,}")

print("7. A circular workspace keeps its last cycles, so that one thread fills them and another reads.")
batches, sums = queue.Queue(maxsize=1), []
circular = WorkspaceConfiguration(initial_size=1 << 20, policy_reset="ENDOFBUFFER_REACHED", overallocation_limit=3)


def produce():
    ring = Workspace(circular, "RING")
    for number in range(6):
        with ring:
            batches.put(nd.full(1000, number))  # valid until the buffer is full; three are under way at most
    batches.put(None)


producer = threading.Thread(target=produce)
producer.start()
while (batch := batches.get()) is not None:
    sums.append(float(batch.sum()))
producer.join()
print(f"   sums of the batches: {sums}")

print("8. The limit: an alias that NumPy makes of an array, a tensor too, is plain, and nobody watches it.")
with loop:
    alias = np.asarray(loop.create(3))
with loop:
    loop.create(3).fill(7)
    print(f"   np.asarray(x) of the last cycle reads {alias.tolist()}, the numbers of this one")

print(f"9. What it is for: {CYCLES} cycles with 20 results of 1 MB each.")
with minidl.workspace("DATA", initial_size=1 << 20) as data:
    x, plain = data.create(1 << 18), np.zeros(1 << 18, "f4")
    start = time.perf_counter()
    for _ in range(CYCLES):
        results = [plain + float(k) for k in range(20)]
    ordinary = time.perf_counter() - start
    results, stay = [], Workspace(WorkspaceConfiguration(initial_size=20 << 20), "STAY")
    start = time.perf_counter()
    for _ in range(CYCLES):
        with stay:
            results = [x + float(k) for k in range(20)]
    attached = time.perf_counter() - start
print(f"   ordinary NumPy {ordinary / CYCLES * 1e3:.2f} ms a cycle, in a workspace {attached / CYCLES * 1e3:.2f} ms")
workspace_manager.destroy_all_workspaces_for_current_thread()
