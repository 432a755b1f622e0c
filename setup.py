"""Everything about the package is in pyproject.toml, but for the one C file that makes training on a CPU fast.

It is optional: without a compiler the package installs all the same and does that work in plain torch.
"""

import platform

from setuptools import Extension, setup

# No -ffast-math: gcc would link a start-up routine that changes how the whole process rounds small numbers.
_FLAGS = ["-O3", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math"]
_X86 = ["-mprefer-vector-width=512"] if platform.machine() == "x86_64" else []

setup(
    ext_modules=[
        Extension(
            "sae.kernels._native",
            ["sae/kernels/native.c"],
            extra_compile_args=_FLAGS + _X86,
            optional=True,
        )
    ]
)
