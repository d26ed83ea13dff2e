"""What the figures were measured on: the interpreter's build, the processor, who else was at work."""

import os
import platform
import sys
import sysconfig
from collections.abc import Mapping

from bench.cpu import model_name, split_cpus


def python_build() -> dict[str, object]:
    """Which interpreter the Python proxies ran on; one built without PGO is up to 1.4 times slower."""
    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "pgo": was_built_with("--enable-optimizations", sysconfig.get_config_vars()),
        "lto": was_built_with("--with-lto", sysconfig.get_config_vars()),
        "compiler": platform.python_compiler(),
    }


def was_built_with(option: str, build: Mapping[str, object]) -> bool | None:
    """Whether CPython was configured with an option; None where the build was made not to say.

    Args:
        option: Of CPython's configure script.
        build: The build's variables, as sysconfig has them.
    """
    if option in str(build.get("CONFIG_ARGS", "")):
        return True
    # configure always writes this one; Debian builds with PGO and LTO by other means and blanks it.
    return False if build.get("PGO_PROF_USE_FLAG") else None


def machine() -> dict[str, object]:
    """The processor and which of its CPUs did what."""
    proxy_cpus, load_cpus = split_cpus()
    return {
        "processor": model_name(),
        "cpus": os.cpu_count(),
        "system": f"{sys.platform} {platform.release()}",
        "proxy_cpu": min(proxy_cpus),
        "load_cpu": min(load_cpus),
        "shared_cpu": proxy_cpus == load_cpus,
    }
