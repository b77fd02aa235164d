"""Builds a wheel that carries the shared library beside the module.

Needs cargo and a checkout of the whole repository. LINER_LIBRARY names a library to carry instead of one built here.
"""

import json
import os
import pathlib
import subprocess
import sys

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

CRATE = pathlib.Path(__file__).resolve().parent.parent / "Cargo.toml"


def cargo(*words, **environment):
    """Runs cargo on the crate of the library, and returns what it writes."""
    command = ["cargo", words[0], "--manifest-path", str(CRATE), *words[1:]]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, env={**os.environ, **environment}, check=True)
    except FileNotFoundError:
        sys.exit("cargo is needed to build the library: see https://rustup.rs")
    return done.stdout.decode()


def metadata():
    """What cargo knows of the crate."""
    if not CRATE.exists():
        sys.exit(f"there is no {CRATE}: install from a checkout of the repository")
    return json.loads(cargo("metadata", "--no-deps", "--format-version=1"))


def version():
    """The crate's."""
    return next(
        package["version"] for package in metadata()["packages"] if pathlib.Path(package["manifest_path"]) == CRATE
    )


def library():
    """Builds the shared library, without the names of directories of this machine in it, and returns its path."""
    given = os.environ.get("LINER_LIBRARY")
    if given:
        return given
    home = os.environ.get("CARGO_HOME") or str(pathlib.Path.home() / ".cargo")
    places = {home: "cargo", metadata()["workspace_root"]: "liner"}
    flags = [f"--remap-path-prefix={place}={name}" for place, name in places.items()]
    words = ["--lib", "--release", "--locked", "--message-format=json-render-diagnostics"]
    encoded = "\x1f".join(flags + os.environ.get("RUSTFLAGS", "").split())
    for line in cargo("build", *words, CARGO_ENCODED_RUSTFLAGS=encoded).splitlines():
        for path in json.loads(line).get("filenames", []):
            if pathlib.Path(path).name in ("libliner_broker.so", "libliner_broker.dylib", "liner_broker.dll"):
                return path
    sys.exit("cargo has built no shared library")


class BuildPy(build_py):
    """Adds the library to the module."""

    def run(self):
        super().run()
        self.copy_file(library(), "." if self.editable_mode else self.build_lib)


class ForOnePlatform(Distribution):
    """What is installed where compiled things belong."""

    def has_ext_modules(self):
        return True


class BdistWheel(bdist_wheel):
    """A wheel for every Python 3: nothing in it is compiled against Python."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(version=version(), distclass=ForOnePlatform, cmdclass={"build_py": BuildPy, "bdist_wheel": BdistWheel})
