# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
One verification of a model on a machine, from the refusal of bad arguments to the record.

The parts run one after the other and free what they loaded: equality, the bounded stream and its
peak of memory, full KV, the policies.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.provenance import host, versions
from infinipot_ros.evaluation.verify.bundled_clip import BundledClip
from infinipot_ros.evaluation.verify.equality import EqualityCheck, release
from infinipot_ros.evaluation.verify.peak_memory import PeakMemory
from infinipot_ros.evaluation.verify.policy_answers import ask_policies
from infinipot_ros.evaluation.verify.power_meter import PowerMeter
from infinipot_ros.evaluation.verify.stream_speed import LENGTHS, QUICK_LENGTHS, StreamSpeed
from infinipot_ros.evaluation.verify.verification_record import (
    Machine,
    MemoryCheck,
    Options,
    SpeedRow,
    VerificationRecord,
    VerifiedModel,
)
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.plan import MIB, MemoryPlan, available_bytes, plan_memory
from infinipot_ros.visual_memory.policy_names import POLICY_NAMES
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import check_attention, load_config, parse_device, parse_dtype
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.model_folder import find_model, resolve_model

# Resident pages include what libraries keep of each size of matrix they have multiplied.
LIBRARIES_ON_CPU = 64 * MIB
PLAN_PARTS = ('weights', 'cache', 'vision', 'language', 'compression', 'moments')


class Verification:
    """
    Verify a model.

    :param settings: of the memory that is measured.
    :param quick: the first two lengths only.
    :param lengths: of the stream, in visual tokens, instead of ``LENGTHS``.
    :param policies: whose answers are asked for; empty: all there are.
    :param plain: the model to compare with; None: the same one.
    :raises ConfigurationError: this cannot work, and why; nothing was loaded.
    """

    def __init__(
        self, settings: MemoryConfig, *, quick: bool = False, lengths: Sequence[int] = (),
        policies: Sequence[str] = (), plain: str | None = None,
    ) -> None:
        settings.validate()
        for policy in policies:
            if policy not in POLICY_NAMES:
                raise ConfigurationError(
                    f'there is no policy {policy!r}; choose of {", ".join(POLICY_NAMES)}')
        parse_device(settings.device)
        parse_dtype(settings.dtype)
        check_attention(settings.attn_implementation)
        self._config = load_config(settings.model, local_files_only=settings.local_files_only)
        self._plan = plan_memory(self._config, settings)
        self._plan.check(available_bytes(settings.device), settings.device)
        # Last: this may download.
        for model in (settings.model, *([] if plain is None else [plain])):
            find_model(model, local_files_only=settings.local_files_only)
        self._settings, self._quick, self._plain = settings, quick, plain
        self._lengths = sorted(lengths) or (QUICK_LENGTHS if quick else LENGTHS)
        self._policies = tuple(policies) or POLICY_NAMES
        self._clip = BundledClip.read()

    def run(self, on_state: Callable[[str], None] = lambda text: None) -> VerificationRecord:
        """
        Run all parts.

        :param on_state: called with what is done now.
        :raises ConfigurationError: the model cannot be loaded or used.
        """
        settings, began = self._settings, time.perf_counter()
        date = datetime.now(timezone.utc).isoformat(timespec='minutes')
        check = EqualityCheck(settings, self._clip, self._plain, on_state)
        equality = check.run()
        speed: list[SpeedRow] = []
        with PowerMeter(settings.device) as meter:
            on_state(f'loading {settings.model}')
            stream = StreamSpeed(self._clip, self._lengths, meter, on_state)
            model, memory = self._measure_memory(stream, speed)
            release(settings.device)
            speed += stream.full(model, settings)
            release(settings.device)
        answers = list(ask_policies(self._policies, settings, model, self._clip, on_state))
        compared = [each.passed for each in equality if each.passed is not None]
        return VerificationRecord(
            date=date, seconds=time.perf_counter() - began, machine=machine(settings.device),
            versions=versions(), model=_described(settings.model, model),
            options=Options(
                quick=self._quick, **{name: getattr(settings, name) for name in (
                    'dtype', 'weights', 'attn_implementation', 'budget', 'block_size',
                    'max_pixels')}),
            normalisation=check.normalisation, equality=equality, positions=check.positions,
            memory=memory, speed=speed, power_is=meter.source, answers=answers,
            passed=bool(compared) and all(compared) and memory.passed is not False)

    def _measure_memory(
        self, stream: StreamSpeed, rows: list[SpeedRow],
    ) -> tuple[VisionLanguageModel, MemoryCheck]:
        """Load the model, run the bounded stream, and compare the peak with the plan."""
        settings, peak, reason = self._settings, None, ''
        try:
            peak = PeakMemory(settings.device)
        except ConfigurationError as error:
            reason = str(error)
        memory = VisualMemory(settings)
        if peak is not None:
            # Loading may read files through memory that is free again now.
            peak.restart()
        rows += stream.bounded(memory)
        return memory.model, _memory_check(
            self._plan, None if peak is None else peak.read(), reason,
            0 if settings.device.startswith('cuda') else LIBRARIES_ON_CPU)


def _memory_check(
    plan: MemoryPlan, taken: int | None, reason: str, allowed: int,
) -> MemoryCheck:
    return MemoryCheck(
        planned_bytes=plan.total, allowed_bytes=allowed,
        plan={name: getattr(plan, name) for name in PLAN_PARTS}, peak_bytes=taken,
        passed=None if taken is None else taken <= plan.total + allowed, skipped=reason)


def machine(device: str) -> Machine:
    """Return what class of machine this is."""
    about: dict[str, Any] = host()
    gpu = torch.cuda.get_device_properties(device) if device.startswith('cuda') else None
    return Machine(
        device=torch.device(device).type, processor=about['processor'], cores=about['cores'],
        memory_bytes=about['memory'],
        # Builds of kernels may bear names of their own.
        system=f'{platform.system()} {platform.release().partition("-")[0]} {platform.machine()}',
        gpu=None if gpu is None else gpu.name,
        gpu_memory_bytes=None if gpu is None else gpu.total_memory)


def _described(name: str, model: VisionLanguageModel) -> VerifiedModel:
    # A path may name its owner.
    local = Path(resolve_model(name)).is_dir()
    return VerifiedModel(
        name=os.path.basename(os.path.abspath(resolve_model(name))) if local else name,
        model_type=type(model.config).model_type, layers=model.shape.layers,
        kv_heads=model.shape.kv_heads, head_dim=model.shape.head_dim,
        weight_bytes=model.weight_bytes)
