# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What ``config/infinipot.policy.xml`` lets the node do, and what a running one does."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from harness import Client
from rclpy.action.graph import get_action_server_names_and_types_by_node

POLICY = Path(__file__).resolve().parents[2] / 'config' / 'infinipot.policy.xml'


def allowed(namespace: str, *settings: str) -> dict[str, set[str]]:
    """
    Names by what may be done with them, for a node in a namespace.

    :param settings: the comments to put in, as the file has them: ``pose_topic: odom``.
    """
    text = POLICY.read_text()
    for setting in settings:
        assert f'<!-- {setting} <topic>' in text, setting
        text = '\n'.join(
            line.replace(f'<!-- {setting} ', '').replace(' -->', '')
            if f'<!-- {setting} <' in line else line for line in text.splitlines())
    [profile] = ElementTree.fromstring(text).iter('profile')
    assert profile.attrib == {'ns': '/', 'node': 'infinipot'}
    return {
        act: {expanded(str(name.text), namespace) for name in rules}
        for rules in profile for act, verdict in rules.attrib.items() if verdict == 'ALLOW'}


def expanded(name: str, namespace: str) -> str:
    """As SROS 2 expands it: from the root, the node or its namespace."""
    if name.startswith('/'):
        return name
    return f'{namespace}/{name.replace("~", "infinipot")}'


def done(client: Client) -> dict[str, set[str]]:
    """The same as ``allowed``, by the ROS graph; the parts of an action are part of it."""
    node, its_name = client.node, ('infinipot', client.process.namespace)
    found = {
        'publish': node.get_publisher_names_and_types_by_node(*its_name),
        'subscribe': node.get_subscriber_names_and_types_by_node(*its_name),
        'reply': node.get_service_names_and_types_by_node(*its_name),
        'request': node.get_client_names_and_types_by_node(*its_name),
        'execute': get_action_server_names_and_types_by_node(node, *its_name)}
    names = {act: {name for name, _ in each if '/_action/' not in name}
             for act, each in found.items()}
    return {act: each for act, each in names.items() if each}
