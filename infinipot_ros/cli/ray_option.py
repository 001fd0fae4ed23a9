# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The option ``--ray [ADDRESS]``: parse it, and refuse what it excludes; Ray is not imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.ray_session import ADDRESS, LOCAL

HELP = 'Spread over a Ray cluster; without ADDRESS one is started, on this machine alone.'


class RayCommand(TyperCommand):
    """A command whose ``--ray`` may lack its value, which then is ``local``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments."""
        return super().parse_args(ctx, name_address(args))


def name_address(arguments: Sequence[str]) -> list[str]:
    """Turn ``--ray`` into ``--ray=local`` wherever no address follows it."""
    return [
        f'--ray={LOCAL}' if argument == '--ray' and not ADDRESS.fullmatch(following) else argument
        for argument, following in zip(arguments, [*arguments[1:], ''])]


def check_ray(address: str | None, workers: int | None, device: str) -> None:
    """
    Refuse options that contradict ``--ray``, before anything is read or loaded.

    :param address: None for no Ray, which contradicts nothing.
    :raises ConfigurationError: it cannot be an address, or another option contradicts it.
    """
    if address is None:
        return
    if not ADDRESS.fullmatch(address):
        raise ConfigurationError(
            f'{address!r} is not an address of a Ray cluster; give HOST:PORT, ray://HOST:PORT, '
            'auto, or --ray alone to start one')
    if workers is not None:
        raise ConfigurationError(
            f'--workers {workers} and --ray exclude each other: a cluster has one worker a core, '
            'or a GPU; leave one of them out')
    if ':' in device:
        raise ConfigurationError(
            f'device {device} names a GPU of this machine; with --ray each worker has a GPU of '
            f'its own: give --device {device.partition(":")[0]}')
