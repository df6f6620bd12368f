"""A run that was interrupted goes on as if nothing had happened, from memory or from a file."""

import re
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from dataclasses import fields

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import RK4, TRBDF2, AsymptoticPreserving, Euler, KenCarp4, Odeint
from pnpfusion.solvers.backend import is_installed
from pnpfusion.solvers.compiled.run import CompiledRun
from tests.registry import Decay, Pendulum, blocking_cell, f64, stepper_name, times
from tests.source_tree import environment

VOLTAGES = torch.tensor([[0.2, 25.0, 3.0]], dtype=f64)
SPAN = torch.linspace(0, 0.02, 9, dtype=f64)
STEPPERS = [
    KenCarp4(rtol=1e-6),
    TRBDF2(rtol=1e-4),
    TRBDF2(dt=7e-4),
    AsymptoticPreserving(dt=4e-4),
    RK4(dt=3e-4),
]


@pytest.fixture(autouse=True)
def short_calls(monkeypatch):
    """Compiled runs look up after every step, or these short ones could not be interrupted."""
    for runs in ("run", "semi_implicit"):
        monkeypatch.setattr(f"pnpfusion.solvers.compiled.{runs}.MOST_IN_ONE_CALL", 1)


def start(dtype=f64):
    generator = torch.Generator().manual_seed(0)
    return 1 + 0.2 * torch.rand(1, 3, 2, 32, dtype=dtype, generator=generator)


def interrupted(monkeypatch, sweeps, *arguments, **settings):
    """The run that Ctrl-C stops when its progress has been reported ``sweeps`` times."""
    calls = []

    @contextmanager
    def bar(wanted):
        def report(share):
            calls.append(share)
            if len(calls) == sweeps:
                raise KeyboardInterrupt

        yield report

    with monkeypatch.context() as patch:
        patch.setattr("pnpfusion.run.simulate._progress_bar", bar)
        with pytest.raises(pf.Interrupted) as stopped:
            pf.simulate(*arguments, **settings)
    run = stopped.value.solution
    assert run.outcome is pf.Outcome.INTERRUPTED
    return run


def assert_same(run, whole):
    assert run.outcome is whole.outcome
    for name in ("times", "states", "succeeded", "residuals", "lowest"):
        wanted = getattr(whole, name)
        assert wanted is None or torch.equal(
            getattr(run, name).nan_to_num(), wanted.nan_to_num()
        ), name
    for field in fields(whole.work):
        assert torch.equal(getattr(run.work, field.name), getattr(whole.work, field.name)), field


@pytest.mark.parametrize("dtype", [f64, torch.float32])
@pytest.mark.parametrize("sweeps", [1, 3, 6])
@pytest.mark.parametrize("stepper", STEPPERS, ids=stepper_name)
def test_a_saved_run_goes_on_bit_for_bit(monkeypatch, tmp_path, stepper, sweeps, dtype):
    cell = blocking_cell(voltage=VOLTAGES)
    if dtype == torch.float32 and isinstance(stepper, KenCarp4):
        stepper = KenCarp4(rtol=1e-4)
    call = (cell, start(dtype), SPAN)
    whole = pf.simulate(*call, stepper=stepper)
    part = interrupted(monkeypatch, sweeps, *call, stepper=stepper)
    assert len(part.times) < len(SPAN) or not part.succeeded.all()
    back = pf.load(part.save(tmp_path / "part.safetensors"))
    for name in ("t", "u", "slope", "next", "going"):
        assert torch.equal(getattr(back.standing, name), getattr(part.standing, name))
    assert back.standing.outcomes == part.standing.outcomes
    assert_same(pf.simulate(*call, stepper=stepper, resume=back), whole)
    assert_same(pf.simulate(*call, stepper=stepper, resume=part), whole)


def test_a_run_may_be_interrupted_again_and_again(monkeypatch):
    call = (blocking_cell(voltage=VOLTAGES), start(), SPAN)
    whole, run = pf.simulate(*call), None
    for _ in range(3):
        run = interrupted(monkeypatch, 2, *call, resume=run)
    assert_same(pf.simulate(*call, resume=run), whole)


@pytest.mark.parametrize("line", range(50, 1500, 111))
def test_an_interruption_at_any_line_leaves_no_step_half_done(line):
    u0 = torch.tensor([[1.0, 0.0], [2.0, 0.5]], dtype=f64)
    call, seen = (Pendulum(), u0, torch.linspace(0, 2, 7, dtype=f64)), [0]
    whole = pf.simulate(*call, stepper=TRBDF2())

    def trace(frame, event, argument):
        if not frame.f_code.co_filename.endswith(("march.py", "record.py", "control.py")):
            return None
        seen[0] += event == "line" and frame.f_code.co_name not in ("march", "_start", "path")
        if seen[0] == line:
            seen[0] += 1
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with pytest.raises(pf.Interrupted) as stopped:
            pf.simulate(*call, stepper=TRBDF2())
    finally:
        sys.settrace(before)
    assert torch.is_grad_enabled()
    assert_same(pf.simulate(*call, stepper=TRBDF2(), resume=stopped.value.solution), whole)


def test_a_run_stopped_by_a_signal_goes_on_from_its_file(tmp_path):
    script = f"""
        import sys, torch, pnpfusion as pf
        from pnpfusion.solvers import KenCarp4
        from tests.registry import blocking_cell
        call = blocking_cell(), torch.ones(2, 32).double(), 1e-3 * torch.arange(400).double()
        try:
            run = pf.simulate(*call, stepper=KenCarp4(dt=1e-3), progress=True)
        except pf.Interrupted as stopped:
            stopped.solution.save({str(tmp_path / "part")!r})
            sys.exit(3)
        run.save({str(tmp_path / "whole")!r})
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    settings = {"env": environment(), "text": True}
    with subprocess.Popen(command, stderr=subprocess.PIPE, **settings) as process:
        bar = ""
        while process.poll() is None and not re.search(r" [2-9]\d%", bar):
            bar += process.stderr.read(1)
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        assert process.wait(timeout=60) == 3
    subprocess.run(command, check=True, timeout=120, stderr=subprocess.DEVNULL, **settings)
    whole, part = pf.load(tmp_path / "whole"), pf.load(tmp_path / "part")
    assert 1 < len(part.times) < len(whole.times)
    call = part.dynamics, part.states[0], whole.times
    assert_same(pf.simulate(*call, stepper=KenCarp4(dt=1e-3), resume=part), whole)


def test_a_finished_run_may_go_on_to_later_times():
    call = blocking_cell(voltage=VOLTAGES), start()
    whole = pf.simulate(*call, SPAN, stepper=TRBDF2(dt=1e-3))
    part = pf.simulate(*call, SPAN[:4], stepper=TRBDF2(dt=1e-3))
    assert_same(pf.simulate(*call, SPAN, stepper=TRBDF2(dt=1e-3), resume=part), whole)


def test_a_run_out_of_steps_may_be_given_more():
    call = blocking_cell(), torch.ones(2, 32, dtype=f64), SPAN
    part = pf.simulate(*call, stepper=KenCarp4(max_steps=3))
    assert part.outcome is pf.Outcome.OUT_OF_STEPS
    again = pf.simulate(*call, stepper=KenCarp4(max_steps=3), resume=part)
    assert again.outcome is pf.Outcome.OUT_OF_STEPS
    assert int(again.work.steps + again.work.rejected) == 3
    assert_same(pf.simulate(*call, stepper=KenCarp4(), resume=part), pf.simulate(*call))


def test_a_sample_that_failed_stays_so():
    voltages = torch.tensor([0.1, 4e3], dtype=f64)
    call = (
        blocking_cell(voltage=voltages, debye=0.4),
        torch.ones(2, 2, 32, dtype=f64),
        torch.linspace(0, 0.2, 21, dtype=f64),
    )
    whole = pf.simulate(*call, stepper=Euler(dt=9e-4))
    part = pf.simulate(*call[:2], call[2][:12], stepper=Euler(dt=9e-4))
    assert part.succeeded.tolist() == [True, False]
    assert_same(pf.simulate(*call, stepper=Euler(dt=9e-4), resume=part), whole)


def test_what_is_no_part_of_the_run_is_refused():
    cell, u0 = blocking_cell(), torch.ones(2, 32, dtype=f64)
    part = pf.simulate(cell, u0, times(0, 0.1, 0.2))
    for what, message in [
        ((cell, 0.9 * u0, times(0, 0.1, 0.2)), "began from another state"),
        ((cell, u0.float(), times(0, 0.1, 0.2)), "began from another state"),
        ((cell, u0, times(0, 0.1)), "`times` must begin with the 3 times"),
        ((cell, u0, times(0, 0.15, 0.2)), "`times` must begin with the 3 times"),
    ]:
        with pytest.raises(ValueError, match=message):
            pf.simulate(*what, resume=part)
    with pytest.raises(ValueError, match="`resume` must be a Solution, got str"):
        pf.simulate(cell, u0, times(0, 1), resume="part.safetensors")
    with pytest.raises(ValueError, match="does not know where its steps stood"):
        pf.simulate(Decay(), u0[0], times(0, 1), resume=pf.unroll(Decay(), u0[0], 3))
    with pytest.raises(ValueError, match="`resume` needs a stepper of pnpfusion"):
        pf.simulate(cell, u0, times(0, 0.1, 0.2, 0.3), stepper=Odeint(), resume=part)


@pytest.mark.skipif(not is_installed("numba"), reason="compiled runs need pnpfusion[fast]")
def test_an_interruption_before_the_first_steps_are_there_leaves_the_start(monkeypatch):
    call = blocking_cell(voltage=VOLTAGES), start(), SPAN

    move, calls = CompiledRun._move, []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return move(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(CompiledRun, "_move", stopped)
        with pytest.raises(pf.Interrupted) as raised:
            pf.simulate(*call)
    part = raised.value.solution
    assert part.times.tolist() == [0.0]
    assert torch.equal(part.states[0], call[1])
    assert_same(pf.simulate(*call, resume=part), pf.simulate(*call))


def test_times_that_were_passed_unsaved_are_refused(monkeypatch):
    cell, u0 = blocking_cell(), torch.ones(2, 32, dtype=f64)
    part = interrupted(monkeypatch, 6, cell, u0, times(0, 1))
    with pytest.raises(ValueError, match="passed without saving them"):
        pf.simulate(cell, u0, times(0, 1e-9, 1), resume=part)


def test_a_gradient_is_not_silently_lost():
    cell, u0 = blocking_cell(voltage=torch.ones((), requires_grad=True)), torch.ones(2, 32).double()
    part = pf.simulate(cell, u0, times(0, 0.1))
    with pytest.raises(ValueError, match=r"call `simulate` under torch.no_grad\(\)"):
        pf.simulate(cell, u0, times(0, 0.1, 0.2), resume=part)
    with torch.no_grad():
        assert pf.simulate(cell, u0, times(0, 0.1, 0.2), resume=part).succeeded.all()
