# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Watts from the lines of tegrastats and nvidia-smi."""

import os

import pytest

from infinipot_ros.evaluation.verify.power_meter import (
    PowerMeter,
    watts_of_nvidia_smi,
    watts_of_tegrastats,
)

ORIN_NANO = (
    '11-27-2026 10:00:00 RAM 3012/7620MB (lfb 4x4MB) CPU [12%@1510,0%@1510] GR3D_FREQ 99% '
    'cpu@54.1C VDD_IN 14203mW/9000mW VDD_CPU_GPU_CV 7001mW/3000mW VDD_SOC 2402mW/2000mW')
ORIN_AGX = (
    'RAM 9012/30697MB VDD_GPU_SOC 12000mW/8000mW VDD_CPU_CV 2500mW/2000mW '
    'VIN_SYS_5V0 4500mW/4000mW')


@pytest.mark.parametrize(('line', 'watts'), [
    (ORIN_NANO, 14.203), (ORIN_AGX, 19.0), ('RAM 9012/30697MB', None), ('', None)])
def test_a_line_of_tegrastats_gives_the_module_or_the_sum_of_its_rails(line, watts):
    assert watts_of_tegrastats(line) == (watts if watts is None else pytest.approx(watts))


@pytest.mark.parametrize(('line', 'watts'), [
    ('212.45\n', 212.45), ('[N/A]\n', None), ('', None)])
def test_a_line_of_nvidia_smi_gives_watts_or_nothing(line, watts):
    assert watts_of_nvidia_smi(line) == watts


def test_a_tool_is_read_as_long_as_it_is_used(tmp_path, monkeypatch):
    done = tmp_path / 'ended'
    tool = tmp_path / 'tegrastats'
    tool.write_text(
        f"#!/bin/sh\ntrap 'touch {done}; exit' TERM\n"
        f"while true; do echo '{ORIN_NANO}'; sleep 0.01; done\n")
    tool.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    with PowerMeter('cpu') as meter:
        while meter.mean() is None:
            pass
        assert meter.mean() == pytest.approx(14.203)
        assert 'tegrastats' in meter.source
    assert done.exists()


def test_without_a_tool_there_is_a_reason(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    with PowerMeter('cpu') as meter:
        assert meter.mean() is None
    assert meter.source == 'not measured: this machine has no tegrastats'
