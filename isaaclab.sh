#!/usr/bin/env bash
# Hands its words to Isaac Lab's command line, with this project's tasks known to it; see usage() below.
set -euo pipefail

root="$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")"
venv="$root/.venv"
stamp="$venv/mmnav-setup" # absent: of another hand; "unfinished": make again; otherwise what it was made for

usage() {
    cat <<'EOU'
usage: isaaclab.sh [words]

  -p SCRIPT|-c|-m ...     run Python             isaaclab.sh -p scripts/train_expert.py --task Squeeze
  -t [pytest words]       run this project's tests (paths count from the repository)
  list_envs               list this project's tasks; --all for Isaac Lab's too
  train, play             train and play a task  isaaclab.sh train --task Mmnav-Squeeze
  random_agent, ...       any other word goes to Isaac Lab; its own list: isaaclab.sh -p -m isaaclab --help

An active environment (venv, conda, or `python` on PATH) that has Isaac Lab 3 is used as it is. Without one, the first
call makes .venv beside this script: Python 3.12 and the versions of constraints.txt (several GB, once).
EOU
}

say() { printf 'isaaclab.sh: %s\n' "$*" >&2; }

fail() {
    say "$@"
    exit 2
}

# Prints the prefix of a Python that has Isaac Lab 3: only since then do projects bring tasks by entry point.
isaaclab_prefix() {
    "$1" -c 'import sys; from isaaclab.cli import load_external_tasks; print(sys.prefix)' 2>/dev/null
}

# Prints the active Python if it has Isaac Lab and is not our own .venv.
active_python() {
    local candidate prefix
    for candidate in "${VIRTUAL_ENV:-}/bin/python" "${CONDA_PREFIX:-}/bin/python" python; do
        prefix="$(isaaclab_prefix "$candidate")" || continue
        [[ "$prefix" -ef "$venv" ]] && return 1
        command -v -- "$candidate"
        return
    done
    return 1
}

# Lets a Python that may not have mmnav installed find it, and its tasks, in this checkout.
use_checkout() {
    local metadata="$root/build/checkout/mmnav.dist-info"
    if [[ ! -f "$metadata/entry_points.txt" ]]; then
        mkdir -p -- "$metadata"
        printf 'Metadata-Version: 2.1\nName: mmnav\nVersion: 0+checkout\n' >"$metadata/METADATA"
        printf '[isaaclab.tasks]\nmmnav = mmnav_tasks\n' >"$metadata/entry_points.txt"
    fi
    export PYTHONPATH="$root/source:$root/exts/mmnav:$root/build/checkout${PYTHONPATH:+:$PYTHONPATH}"
}

# A venv belongs to one place and one set of requirements.
fingerprint() {
    { printf '%s\n' "$root" && cat -- "$root/pyproject.toml" "$root/constraints.txt"; } | sha256sum
}

is_ready() { [[ -x "$venv/bin/python" && -f "$stamp" && "$(<"$stamp")" == "$(fingerprint)" ]]; }

is_python312() { [[ "$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" == 3.12 ]]; }

has_uv() { uv --version >/dev/null 2>&1; }

# Prints a Python 3.12, also one that pyenv has but does not offer. A pyenv shim may be dead: each is tried by running.
find_python312() {
    local candidate
    for candidate in python3.12 python3 python "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.12*/bin/python; do
        if is_python312 "$candidate"; then
            command -v -- "$candidate"
            return
        fi
    done
    return 1
}

# Makes an empty venv, marked as unfinished from its first moment on.
make_venv() {
    local python missing='Python 3.12 is missing: install python3.12 (system packages, pyenv or conda) or uv'
    python="$(find_python312)" || python=''
    [[ -n "$python" ]] || has_uv || fail "$missing."
    say 'setting up .venv with Isaac Lab (several GB, once)'
    rm -rf -- "${venv:?}/bin" "$venv" # bin first: without it, what a killed rm leaves behind is not taken for a venv
    mkdir -- "$venv"
    echo unfinished >"$stamp"
    if has_uv; then
        uv venv --quiet --allow-existing --python "${python:-3.12}" "$venv" >&2 || fail "$missing that can fetch it."
    else
        "$python" -m venv "$venv" >&2 || fail "$python could not make a venv."
    fi
}

# Installs the pinned set, and the stamp last. What a killed setup left behind is made again, from nothing; an update
# that fails in good order, without a network say, is tried again on the same venv.
set_up() {
    local install=("$venv/bin/python" -m pip install) after_failure=unfinished
    if has_uv; then install=(uv pip install --python "$venv/bin/python"); fi
    trap 'exit 130' INT TERM
    if ! is_python312 "$venv/bin/python" || [[ -f "$stamp" && "$(<"$stamp")" == unfinished ]] ||
        ! "${install[@]}" --help >/dev/null 2>&1; then # made by a uv that is gone, for one
        make_venv
    else
        say 'bringing .venv up to date'
        echo unfinished >"$stamp"
        after_failure=outdated
    fi
    (cd -- "$root" && "${install[@]}" --constraint constraints.txt --editable '.[sim,dev]') >&2 || {
        echo "$after_failure" >"$stamp"
        fail 'the installation failed; the next call tries again.'
    }
    fingerprint >"$stamp"
}

# Uses .venv as if it were activated, after setting it up if need be; one process at a time.
use_venv() {
    if ! is_ready; then
        exec 9>"$root/.venv.lock"
        flock --nonblock 9 || {
            say 'waiting for another setup of .venv'
            flock 9
        }
        is_ready || set_up
        exec 9>&-
    fi
    python="$venv/bin/python"
    export VIRTUAL_ENV="$venv" PATH="$venv/bin:$PATH"
    unset PYTHONHOME
}

case "${1:-}" in
    -h | --help)
        usage
        exit
        ;;
esac

if python="$(active_python)"; then use_checkout; else use_venv; fi

case "${1:-}" in
    '') usage ;;
    -t | --test)
        cd -- "$root"
        exec "$python" -m pytest "${@:2}"
        ;;
    *) exec "$python" -m isaaclab "$@" ;;
esac
