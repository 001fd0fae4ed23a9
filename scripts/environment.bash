# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
#
# Everything a command of this checkout needs around it; the Makefile sources it before each.
#
#     source scripts/environment.bash
#
# ROS from /opt/ros where one is installed, else from the wheels in .venv; then .venv itself; then
# what `make build` built. The built package comes first on PYTHONPATH: it is the one with
# infinipot_ros.msg and .srv, and its modules are links to this checkout's, so whichever of the
# two Python finds, it runs the same source.

_infinipot_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
_infinipot_had_u=${-//[^u]/}
set +u  # ROS's set-up files read variables that may not be there

if [ -z "${ROS_DISTRO:-}" ]; then
  for _infinipot_ros in /opt/ros/*/setup.bash; do
    [ ! -f "$_infinipot_ros" ] || _infinipot_newest="$_infinipot_ros"
  done
  [ -z "${_infinipot_newest:-}" ] || source "$_infinipot_newest"
fi
if [ -z "${ROS_DISTRO:-}" ]; then
  export AMENT_PREFIX_PATH="$_infinipot_root/.venv"
  unset PYTHONPATH CMAKE_PREFIX_PATH
fi

export VIRTUAL_ENV="$_infinipot_root/.venv"
export PATH="$VIRTUAL_ENV/bin:$PATH"
unset PYTHONHOME

[ ! -f "$_infinipot_root/install/setup.bash" ] || source "$_infinipot_root/install/setup.bash"

# Nothing leaves this machine unless you say so beforehand.
if [ "${ROS_DISTRO:-}" = humble ]; then
  export ROS_LOCALHOST_ONLY="${ROS_LOCALHOST_ONLY:-1}"
else
  export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
fi

[ -z "$_infinipot_had_u" ] || set -u
unset _infinipot_root _infinipot_had_u _infinipot_ros _infinipot_newest
