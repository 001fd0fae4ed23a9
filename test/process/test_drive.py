# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Goals over DDS, the example that sends them to a navigator, and leaves of behaviour trees."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import rclpy
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from harness import (
    RELIABLE,
    SECOND,
    START_NS,
    Client,
    NamespacedNode,
    stamp,
    wait_matched,
    wait_until,
)
from py_trees.behaviour import Behaviour
from py_trees.blackboard import Blackboard
from py_trees.common import Status
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.executors import MultiThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile

from infinipot_ros.action import Ask
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.integrations.behaviour_trees import AskMemory, WatchFor
from infinipot_ros.node.shutdown import leave_ros
from infinipot_ros.srv import Watch

EXAMPLE = Path(__file__).resolve().parents[2] / 'examples' / 'drive_to_answer.py'
FRAMES = 6


@pytest.fixture(scope='module')
def running(start, tiny) -> tuple[NamespacedNode, Client]:
    """A node that drove along x in the map, a metre a second."""
    process, client = start(model=tiny, pose_topic='amcl_pose', pose_max_gap=0.5,
                            memory__budget=128, query__max_new_tokens=8)
    poses = client.node.create_publisher(PoseWithCovarianceStamped, 'amcl_pose', RELIABLE)
    client.wait_active()
    wait_matched(poses)
    for second in range(FRAMES):
        message = PoseWithCovarianceStamped()
        message.header.stamp = stamp(START_NS + second * SECOND)
        message.header.frame_id = 'map'
        message.pose.pose.position.x = float(second)
        message.pose.pose.orientation.w = 1.0
        message.pose.covariance[0] = 0.25
        poses.publish(message)
    # Frames go another way: the poses must not come after them.
    client.wait_message(client.diagnostics, lambda message: any(
        (value.key, value.value) == ('poses', str(FRAMES))
        for status in message.status for value in status.values), 20.0, 'the poses')
    client.feed(START_NS, FRAMES)
    return process, client


def test_an_answer_has_a_goal_and_it_is_latched(running) -> None:
    _, client = running
    answers = [client.ask('What is there?'), client.result(client.send('What is there?')).result]
    for answer in answers:
        best = answer.evidence[0]
        assert answer.success and answer.has_goal
        assert answer.goal.header == best.pose.header and answer.goal.header.frame_id == 'map'
        assert answer.goal.pose == best.pose.pose.pose
        assert list(answer.goal_covariance) == list(best.pose.pose.covariance)
        assert answer.goal_covariance[0] == 0.25
        seen_s = best.header.stamp.sec - START_NS // SECOND
        assert answer.goal.pose.position.x == seen_s
        assert (answer.goal_age.sec, answer.goal_age.nanosec) == (FRAMES - 1 - seen_s, 0)
    latched: list[PoseStamped] = []
    client.node.create_subscription(
        PoseStamped, f'{client.name}/goal', latched.append,
        QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    assert client.wait_message(latched, lambda _: True, 10.0, 'goal') == answers[-1].goal


def as_ask(make: Callable[..., Ask.Goal]) -> type:
    """Return a type of action whose goals are made by a function and travel as those of Ask."""
    maker = type('Maker', (type,), {
        '__call__': lambda _, **fields: make(**fields),
        '__instancecheck__': lambda _, goal: isinstance(goal, Ask.Goal)})
    return type(Ask)('AsAsk', (Ask,), {'Goal': maker('Goal', (), {})})


#: Takes the place of ``nav2_msgs.action.NavigateToPose``, which is not on PyPI: goals have the
#: pose as text, and client and server are real.
NavigateToPose = as_ask(lambda pose: Ask.Goal(
    question=f'{pose.header.frame_id} {pose.pose.position.x}', since=pose.header.stamp))


class Peer:
    """A ROS node of its own context that is spun in a thread of its own."""

    def __init__(self, name: str) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node(name, context=self._context)
        self._executor = MultiThreadedExecutor(2, context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(5.0)
        leave_ros(self.node, self._context)


class Navigator(Peer):
    """A dummy of Nav2: notes its goals, and succeeds, aborts or rejects as it is told."""

    def __init__(self) -> None:
        super().__init__('navigator')
        self.goals: list[Ask.Goal] = []
        self.verdict = 'succeed'
        self._server = ActionServer(
            self.node, Ask, '/navigate_to_pose', self._execute, goal_callback=lambda _: (
                GoalResponse.REJECT if self.verdict == 'reject' else GoalResponse.ACCEPT))

    def _execute(self, handle: Any) -> Ask.Result:
        self.goals.append(handle.request)
        getattr(handle, self.verdict)()
        return Ask.Result()

    def close(self) -> None:
        self._server.destroy()
        super().close()


@pytest.fixture(scope='module')
def drive(running) -> Iterator[Callable[..., tuple[Any, Navigator]]]:
    """Run the example's main with an answer to its question, as a user types it."""
    _, client = running
    navigator = Navigator()

    def run(monkeypatch: pytest.MonkeyPatch, reply: str, verdict: str = 'succeed',
            **changes: Any) -> tuple[str, Navigator]:
        navigator.verdict = verdict
        navigator.goals.clear()
        for name in ('nav2_msgs', 'nav2_msgs.action'):
            module = ModuleType(name)
            module.NavigateToPose = NavigateToPose
            monkeypatch.setitem(sys.modules, name, module)
        spec = importlib.util.spec_from_file_location('drive_to_answer', EXAMPLE)
        example = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(example)
        for name, value in {'MEMORY': f'{client.name}/ask', **changes}.items():
            monkeypatch.setattr(example, name, value)
        monkeypatch.setattr(sys, 'argv', ['drive_to_answer', 'What', 'is', 'there?'])
        monkeypatch.setattr('builtins.input', lambda prompt: reply)
        try:
            example.main()
        except SystemExit as error:
            return str(error), navigator
        return '', navigator

    yield run
    navigator.close()


def test_the_example_drives_to_where_the_answer_was_seen(drive, running, monkeypatch,
                                                         capsys) -> None:
    said, navigator = drive(monkeypatch, 'y')
    [goal] = navigator.goals
    frame_id, x = goal.question.split()
    assert (said, frame_id) == ('', 'map') and 0.0 <= float(x) < FRAMES
    assert goal.since.sec == 0, 'where it is now'
    printed = capsys.readouterr().out
    assert f'from ({float(x):.2f}, 0.00) in map' in printed and printed.endswith('there\n')
    assert drive(monkeypatch, 'y', 'abort')[0] == ''
    assert 'did not get there' in capsys.readouterr().out


@pytest.mark.parametrize(('case', 'words'), [
    ({'reply': ''}, ''), ({'reply': 'y', 'verdict': 'reject'}, 'did not take the goal'),
    ({'reply': 'y', 'MAX_AGE_S': -1.0}, 's ago, the limit is'),
])
def test_the_example_drives_nowhere_without_reason(drive, monkeypatch, case, words) -> None:
    said, navigator = drive(monkeypatch, **case)
    assert words in said and not navigator.goals


def test_an_answer_without_a_pose_is_driven_nowhere(drive, running, monkeypatch) -> None:
    _, client = running
    client.feed(START_NS + 100 * SECOND, 2)
    only = {'since': stamp(START_NS + 50 * SECOND)}
    said, navigator = drive(monkeypatch, 'y', Ask=as_ask(
        lambda question: Ask.Goal(question=question, **only)))
    assert 'has no place' in said and not navigator.goals
    answer = client.ask('What is there?', **only)
    assert answer.success and not answer.has_goal


# -- leaves of behaviour trees ----------------------------------------------------------------


class Tree(Peer):
    """The node of a tree, spun beside its ticks as py_trees_ros does, and a leaf's ticks."""

    def tick(self, leaf: Behaviour, until: Callable[[], bool] = lambda: False) -> Status:
        """Tick a leaf until it has come to an end, or a condition holds."""
        end = time.monotonic() + 30.0
        leaf.tick_once()
        while leaf.status == Status.RUNNING and not until():
            assert time.monotonic() < end, leaf.feedback_message
            time.sleep(0.005)
            leaf.tick_once()
        return leaf.status


@pytest.fixture(scope='module')
def tree(running) -> Iterator[Tree]:
    tree = Tree('tree')
    yield tree
    tree.close()


@pytest.fixture
def plant(tree) -> Iterator[Callable[[Behaviour], Behaviour]]:
    """Set a leaf up; shut it down in the end."""
    planted: list[Behaviour] = []

    def plant(leaf: Behaviour) -> Behaviour:
        leaf.setup(node=tree.node)
        planted.append(leaf)
        return leaf

    yield plant
    for leaf in planted:
        leaf.stop(Status.INVALID)
        leaf.shutdown()
    Blackboard.clear()


def test_a_leaf_asks_and_writes_answer_evidence_and_goal(tree, plant, running) -> None:
    _, client = running
    only = {'until': stamp(START_NS + 50 * SECOND)}
    leaf = plant(AskMemory(
        'ask', 'What is there?', memory=client.name, goal_required=True, **only))
    assert tree.tick(leaf) == Status.SUCCESS, leaf.feedback_message
    asked = client.ask('What is there?', **only)
    assert Blackboard.get('/memory/answer') == leaf.feedback_message == asked.answer
    assert Blackboard.get('/memory/evidence') == asked.evidence
    assert Blackboard.get('/memory/goal') == asked.goal


@pytest.mark.parametrize(('fields', 'words'), [
    ({'question': ' '}, 'error 1: '),
    ({'question': 'What?', 'cameras': ['x' * 300]}, 'error 12: '),
    ({'question': 'What?', 'since': stamp(START_NS + 50 * SECOND), 'goal_required': True},
     'has no place'),
    ({'question': 'What?', 'memory': '/nobody', 'timeout_s': 0.05}, 'check its name'),
])
def test_a_leaf_fails_with_the_reason_and_leaves_no_old_goal(tree, plant, running, fields,
                                                             words) -> None:
    _, client = running
    leaf = plant(AskMemory('ask', **{'memory': client.name, **fields}))
    leaf.blackboard.goal = 'an old one'
    assert tree.tick(leaf) == Status.FAILURE
    assert words in leaf.feedback_message and Blackboard.get('/memory/goal') is None


def test_a_leaf_that_is_interrupted_cancels_its_question(tree, plant) -> None:
    asked, canceled = threading.Event(), threading.Event()

    def execute(handle: Any) -> Ask.Result:
        asked.set()
        wait_until(lambda: handle.is_cancel_requested, 20.0, 'a cancel request')
        canceled.set()
        handle.canceled()
        return Ask.Result()

    peer = Peer('slow')
    server = ActionServer(peer.node, Ask, '/slow/ask', execute,
                          cancel_callback=lambda _: CancelResponse.ACCEPT)
    leaf = plant(AskMemory('ask', 'What is there?', memory='/slow'))
    assert tree.tick(leaf, asked.is_set) == Status.RUNNING
    leaf.stop(Status.INVALID)
    assert canceled.wait(20.0)
    server.destroy()
    peer.close()


def test_a_leaf_succeeds_when_its_watch_fires_and_ends_it(tree, plant, running) -> None:
    _, client = running
    refused = plant(WatchFor('watch', '', memory=client.name))
    assert tree.tick(refused) == Status.FAILURE and 'empty' in refused.feedback_message
    leaf = plant(WatchFor('watch', 'What is there?', memory=client.name))
    assert tree.tick(leaf, lambda: 'not fired' in leaf.feedback_message) == Status.RUNNING
    [watch] = client.do(Watch, 'watch', list=True).watches
    assert (watch.question, watch.period.sec) == ('What is there?', 1)
    # A model of random weights soon says otherwise.
    for second in range(200, 240):
        client.feed(START_NS + second * SECOND, 1, shade=second)
        asked = client.do(Watch, 'watch', list=True).watches[0].asked
        if tree.tick(leaf, lambda: True) == Status.SUCCESS:
            break
    assert asked > 1 and leaf.status == Status.SUCCESS
    assert Blackboard.get('/memory/answer') == leaf.feedback_message
    assert Blackboard.get('/memory/evidence')
    client.wait(lambda: not client.do(Watch, 'watch', list=True).watches, 10.0, 'no watch')


def test_a_watch_ends_with_a_leaf_that_is_interrupted(tree, plant, running) -> None:
    _, client = running
    leaf = plant(WatchFor('watch', 'What is there?', 'nothing', memory=client.name))
    assert tree.tick(leaf, lambda: 'not fired' in leaf.feedback_message) == Status.RUNNING
    leaf.stop(Status.INVALID)
    client.wait(lambda: not client.do(Watch, 'watch', list=True).watches, 10.0, 'no watch')


def test_a_leaf_without_a_node_says_how_to_get_one() -> None:
    with pytest.raises(ConfigurationError, match=r'tree.setup\(node=node\)'):
        AskMemory('ask', 'What?').setup()
    with pytest.raises(ConfigurationError, match='before the first tick'):
        AskMemory('ask', 'What?').tick_once()


def test_without_py_trees_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, 'py_trees.behaviour', None)
    monkeypatch.delitem(sys.modules, 'infinipot_ros.integrations.behaviour_trees')
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[bt\]'"):
        importlib.import_module('infinipot_ros.integrations.behaviour_trees')
