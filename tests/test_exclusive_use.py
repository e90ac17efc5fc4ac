"""One call at a time holds a network or a session, and no interrupt leaves it held."""

import dis
import sys

import pytest

from minidl.errors import ConcurrentUseError
from minidl.frames import ExclusiveUse

PROBLEM = "another call holds it. Wait for its end."


def interrupted_after(moment, use):
    """Hold ``use``, interrupted after so many calls that its code makes; return whether there were so many.

    It is after a call that Python looks for signals.
    """
    code, seen, before = ExclusiveUse.by.__wrapped__.__code__, 0, None
    names = {instruction.offset: instruction.opname for instruction in dis.get_instructions(code)}

    def trace(frame, event, argument):
        nonlocal seen, before
        if frame.f_code is not code:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            is_after_call, before = before == "CALL", names[frame.f_lasti]
            seen += is_after_call
            if is_after_call and seen == moment:
                raise KeyboardInterrupt
        return trace

    others = sys.gettrace()
    sys.settrace(trace)
    try:
        with use.by("step"):
            pass
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(others)
    return False


def test_an_interrupt_after_any_call_leaves_it_free():
    moments = 0
    while True:
        use = ExclusiveUse(PROBLEM)
        was_interrupted = interrupted_after(moments + 1, use)
        with use.by("clear"):
            pass
        if not was_interrupted:
            break
        moments += 1
    assert moments >= 3  # of making the mark, asking for the thread, and leaving the guard


def test_a_second_call_is_refused_and_the_first_goes_on():
    use = ExclusiveUse(PROBLEM)
    with use.by("fit"):
        for _ in range(2):
            with pytest.raises(ConcurrentUseError, match=f"^step\\(\\) was called while {PROBLEM}$"):
                use.by("step").__enter__()
        with use.by("set_learning_rate", joins=True):
            pass
    with use.by("step"):
        pass
