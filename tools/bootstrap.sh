#!/bin/sh
# Make .venv hold exactly what requirements.lock names, and this project in editable form.
# Usage: tools/bootstrap.sh PYTHON. Needs no root; needs only a Python of 3.11 or newer.
set -eu

uv_version=0.13.9
venv=.venv
python=$1

say() { printf '%s\n' "bootstrap: $*" >&2; }
fail() { say "$@"; exit 1; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

make_venv() {
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$python" -m venv --clear "$venv"
    elif command -v uv >/dev/null 2>&1; then
        say "$python has no venv with pip; using the uv that is installed"
        uv venv --quiet --clear --seed --python "$python" "$venv"
    elif command -v virtualenv >/dev/null 2>&1; then
        say "$python has no venv with pip; using the virtualenv that is installed"
        virtualenv --quiet --clear --python "$python" "$venv"
    else
        fail "$python can't make a virtual environment: its modules venv and ensurepip are absent." \
            "Install them (on Debian and Ubuntu: the package python3-venv), or install uv or virtualenv, and try again."
    fi
}

command -v "$python" >/dev/null 2>&1 ||
    fail "there is no '$python': install Python 3.11 or newer, or name one, as in: make PYTHON=/opt/python3.12/bin/python3"
new_enough "$python" ||
    fail "Python 3.11 or newer is needed, but '$python' is $("$python" --version 2>&1). Name another: make PYTHON=python3.12"

if ! { new_enough "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }; then
    say "making $venv with $("$python" --version)"
    make_venv
fi

if [ "$("$venv/bin/uv" --version 2>/dev/null | cut -d ' ' -f 2)" != "$uv_version" ]; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
fi

# uv doesn't read pip's configuration: hand on the index that is set there, unless uv has one of its own.
if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
    if index=${PIP_INDEX_URL:-$("$venv/bin/python" -m pip config get global.index-url 2>/dev/null)}; then
        export UV_DEFAULT_INDEX="$index"
    fi
fi

# Compiled beforehand: a role starts in 0.7 s instead of 1.9 s where Python is told to write no bytecode itself.
say "installing what requirements.lock names"
"$venv/bin/uv" pip sync --quiet --compile-bytecode --python "$venv/bin/python" --require-hashes requirements.lock
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --editable .
