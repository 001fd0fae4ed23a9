# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Names of files: within the declared directory, or refused."""

import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infinipot_ros.errors import StorageError
from infinipot_ros.visual_memory.paths import resolve_inside

PIECES = [
    '..', '.', '', '/', 'a', 'b', 'home', 'out', 'loop', 'link', '~', '\0', ' ', '\n', '\ud800']


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    """A directory with ways out of it, and a neighbour whose name starts the same."""
    root = tmp_path_factory.mktemp('storage')
    inside = root / 'home'
    (inside / 'a' / 'b').mkdir(parents=True)
    (root / 'home2').mkdir()
    (inside / 'out').symlink_to(root)
    (inside / 'a' / 'link').symlink_to(inside / 'a' / 'b')
    (inside / 'b').symlink_to('../home2/secret')
    (inside / 'loop').symlink_to('loop')
    return inside


@pytest.mark.parametrize('name', ['m.safetensors', 'a/m', 'a/b/../m', 'a/link/m', '~', '...', 'ü'])
def test_what_lies_inside_is_found(home, name):
    path = resolve_inside(home, name)
    assert path.is_absolute()
    assert path.parent.is_dir()
    assert path == (home / name).resolve()
    assert resolve_inside(str(home), str(home / name)) == path, 'absolute and within will do'


@pytest.mark.chaos
@pytest.mark.parametrize(('name', 'reason'), [
    ('', 'empty'), (' \n', 'empty'), ('x\0y', 'NUL'), ('loop', 'cannot be used'),
    ('\ud800', 'cannot be used'),
    ('..', 'leads out'), ('../m', 'leads out'), ('a/../../m', 'leads out'),
    ('/etc/passwd', 'leads out'), ('../home2/m', 'leads out'), ('out/m', 'leads out'),
    ('b', 'leads out'), ('out/home2/secret', 'leads out'),
    ('.', 'names a directory'), ('a/..', 'names a directory'), ('a', 'names a directory'),
    ('m/', 'names a directory'), ('new/m', 'no folder'),
    pytest.param('x' * 250, 'too long', id='long name'),
    pytest.param('a/' * 4000 + 'm', '', id='long path'),
])
def test_what_does_not_is_refused_with_the_reason(home, name, reason):
    with pytest.raises(StorageError) as caught:
        resolve_inside(home, name)
    assert reason in str(caught.value)


@pytest.mark.parametrize('directory', ['', '/nowhere/at/all', '/etc/passwd'])
def test_without_a_directory_there_is_no_inside(directory):
    with pytest.raises(StorageError):
        resolve_inside(directory, 'm')


@pytest.mark.chaos
@settings(max_examples=400, deadline=None)
@given(st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=8).map('/'.join),
    st.lists(st.sampled_from(PIECES), max_size=8).map(''.join), st.text(max_size=40)))
@example('a/../../home/../home2/m')
def test_no_name_leads_out(home, name):
    try:
        path = resolve_inside(home, name)
    except StorageError as error:
        assert str(error)
        return
    real = os.path.realpath(home)
    assert os.path.commonpath([real, os.path.realpath(path)]) == real
    assert not path.is_dir()
    assert os.path.isdir(os.path.dirname(path))
