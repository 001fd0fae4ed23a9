# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How the node bears a camera: 640x480 jpeg at 30 Hz over DDS, with questions in between.

Measures, over the real node in its own process: how long the image callback takes (as the node
itself reports on /diagnostics; rclpy's own taking of the message is not in it), which frames were
dropped and why, and how long questions take while frames flow. Exit status 0 when the 99th
percentile is within 5 ms, nothing but the declared rate policy dropped a frame, none was lost on
the way, and every question was answered.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import qos_profile_sensor_data
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sensor_msgs.msg import CompressedImage

from infinipot_ros.node.child import NodeProcess, private_environment
from infinipot_ros.node.client import NodeClient

HZ = 30
SIZE = (480, 640)
LIMIT_MS = 5.0
ASK_EVERY_S = 10
ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run the measurement and print it."""
    options = parse()
    console = Console()
    domain = private_environment(ROOT / 'config' / 'fastdds_shm.xml')
    with tempfile.TemporaryDirectory(prefix='infinipot_bench_') as folder:
        process = NodeProcess(Path(folder), [
            '-p', f'model:={options.model}', '-p', 'image_transport:=compressed',
            '-p', f'ingest.fps:={options.fps}', '-p', f'memory.budget:={options.budget}',
            '-p', 'status.period:=0.1'])
        client = None
        try:
            client = NodeClient('/infinipot', domain, process.check)
            client.wait_active(300.0)
            report = measure(client, options.seconds)
        finally:
            status = process.stop()
            if client is not None:
                client.close()
    report.update(model=options.model, fps=options.fps, node_exit_status=status,
                  machine=platform.platform(), python=platform.python_version())
    console.print(table(report))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=2) + '\n')
    return int(not report['passed'] or status != 0)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--seconds', type=int, default=60)
    parser.add_argument('--model', default='infinipot-tiny')
    parser.add_argument('--fps', type=float, default=2.0, help='the declared rate (ingest.fps)')
    parser.add_argument('--budget', type=int, default=1024)
    parser.add_argument('--output', type=Path, default=ROOT / 'results' / 'callbacks.json')
    return parser.parse_args()


def measure(client: NodeClient, seconds: int) -> dict[str, Any]:
    """Publish for some seconds, ask now and then, and read what the node says of itself."""
    reports: list[DiagnosticArray] = []
    client.node.create_subscription(DiagnosticArray, '/diagnostics', reports.append, 10)
    camera = client.node.create_publisher(
        CompressedImage, '/image/compressed', qos_profile_sensor_data)
    client.wait(lambda: camera.get_subscription_count() > 0, 20.0, 'its subscription')
    pictures = [jpeg(index) for index in range(HZ)]

    def publish(index: int) -> None:
        message = CompressedImage(format='jpeg', data=pictures[index % HZ])
        message.header.stamp = client.node.get_clock().now().to_msg()
        camera.publish(message)

    # Best effort: until both sides know of each other, frames go nowhere.
    index = 0
    while not client.status.frames_seen:
        publish(index)
        time.sleep(0.2)
        index += 1
    # The first ones only told that the connection stands.
    before = client.status
    latencies, late_ms = [], []
    pending = None
    started = time.monotonic()
    sent = seconds * HZ
    for index in track(range(sent), f'{sent} frames of {len(pictures[0]) // 1024} KiB'):
        wait_s = started + index / HZ - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        late_ms.append(max(0.0, -wait_s * 1e3))
        publish(index)
        if pending is not None and pending.done():
            latencies.append(pending.result())
            pending = None
        if index % (ASK_EVERY_S * HZ) == HZ * 2 and pending is None:
            pending = client.ask_async('What do you see?')
    if pending is not None:
        client.wait(pending.done, 60.0, 'the last answer')
        latencies.append(pending.result())
    # What is on its way arrives, and the next report tells of it.
    told = len(reports)
    client.wait(lambda: len(reports) >= told + 2, 10.0, 'diagnostics')
    images = next(s for s in reports[-1].status if s.name.endswith(': images'))
    values = {value.key: value.value for value in images.values}
    status = client.status
    drops = Counter(dict(zip(status.drop_reasons, map(int, status.drop_counts))))
    drops -= Counter(dict(zip(before.drop_reasons, map(int, before.drop_counts))))
    p50, p99, longest = (float(values[f'image callback {name} ms'])
                         for name in ('p50', 'p99', 'max'))
    seen = int(status.frames_seen) - int(before.frames_seen)
    answered = [r.latency.sec * 1e3 + r.latency.nanosec / 1e6 for r in latencies if r.success]
    return {
        'seconds': seconds, 'sent': sent, 'jpeg_bytes': len(pictures[0]),
        'seen': seen, 'lost_on_the_way': sent - seen,
        'encoded': int(status.frames_encoded) - int(before.frames_encoded),
        'drops': drops,
        'callback_p50_ms': p50, 'callback_p99_ms': p99, 'callback_max_ms': longest,
        'publisher_late_max_ms': round(max(late_ms), 1),
        'questions': len(latencies), 'answered': len(answered),
        'latency_max_ms': round(max(answered, default=0.0), 1),
        'last_ingest_ms': round(float(status.last_ingest_ms), 1),
        'memory_tokens': int(status.memory_tokens), 'budget_tokens': int(status.budget_tokens),
        'compressions': int(status.compressions),
        'passed': p99 <= LIMIT_MS and set(drops) <= {'rate'} and seen == sent
        and len(answered) == len(latencies) > 0,
    }


def jpeg(seed: int) -> bytes:
    """Encode a picture with some detail, so that it is as large as a camera's."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    noise = random.integers(0, 24, (*SIZE, 3), dtype=np.uint8)
    encoded, data = cv2.imencode('.jpg', cv2.add(picture, noise), [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert encoded
    return bytes(data)


def table(report: dict[str, Any]) -> Table:
    """Lay out a report."""
    drawn = Table('measured', 'value', title='image callbacks under a 30 Hz camera')
    rows = {
        'frames sent, seen, encoded': f'{report["sent"]}, {report["seen"]}, {report["encoded"]}',
        'lost on the way': str(report['lost_on_the_way']),
        'dropped': ', '.join(f'{n} {reason}' for reason, n in report['drops'].items()) or 'none',
        'callback p50, p99, max': f'{report["callback_p50_ms"]:.2f}, '
                                  f'{report["callback_p99_ms"]:.2f}, '
                                  f'{report["callback_max_ms"]:.2f} ms (limit p99 {LIMIT_MS} ms)',
        'questions answered meanwhile': f'{report["answered"]} of {report["questions"]}, '
                                        f'longest {report["latency_max_ms"]} ms',
        'last frame into the memory': f'{report["last_ingest_ms"]} ms',
        'memory': f'{report["memory_tokens"]} of {report["budget_tokens"]} tokens, '
                  f'{report["compressions"]} compressions',
        'verdict': 'passed' if report['passed'] else 'FAILED',
    }
    for name, value in rows.items():
        drawn.add_row(name, value)
    return drawn


if __name__ == '__main__':
    sys.exit(main())
