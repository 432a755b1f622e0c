"""Every Triton kernel compiles to machine code for Hopper, which takes no GPU (the interpreter compiles nothing)."""

import importlib
import importlib.util
import os

import pytest

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed"),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter has replaced the compiler"),
    pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION"),
]

TILE = {"ENTRIES": 8, "BLOCK": 256}
SPARSE = TILE | {"place_stride": 1}
SEGMENTS = {"SEGMENTS": 16, "SEGMENT": 256}
NESTED = TILE | {"TOKENS": 8, "LEVELS": 8}
KERNELS = [
    ("sparse._inner_products", "*i32 *i32 *fp32 *fp32 *fp32 i32 i32", TILE),
    ("sparse._inner_products", "*i32 *i32 *bf16 *fp16 *fp32 i32 i32", TILE),
    ("sparse._add_segments", "*i64 *i64 *i64 *i64 *i32 *fp32 *fp32 *fp32 *fp32 i32 i32 i32", SPARSE | {"SEGMENT": 256}),
    ("sparse._add_segments", "*i64 *i64 *i64 *i64 *i32 *fp32 *bf16 *bf16 *fp32 i32 i32 i32", SPARSE | {"SEGMENT": 256}),
    ("sparse._add_partials", "*i64 *i64 *fp32 *fp32 i32 i32 i32", SPARSE),
    ("nested._nested", "*i64 *i32 *fp32 *fp32 *fp32 *fp32 *fp32 *fp32 *fp32 *fp32 i32 i32 i32 i32", NESTED),
    (
        "nested._nested",
        "*i64 *i32 *fp32 *bf16 *bf16 *fp32 *fp32 *fp32 *fp32 *fp32 i32 i32 i32",
        NESTED | {"n_levels": 1},
    ),
    ("rounding._rounded", "*fp32 *bf16 *fp32 *fp32 i32", {"BLOCK": 256}),
    ("select._count", "*bf16 *fp32 *fp32 *i16 i32 i32", SEGMENTS),
    ("select._fill", "*bf16 *fp32 *fp32 *i64 *i64 *fp32 i32 i32 i32", SEGMENTS),
    ("select._fill", "*fp32 *fp32 *fp32 *i64 *i64 *fp32 i32 i32", SEGMENTS | {"segments": 1}),
    ("select._keep_largest", "*fp32 i32 i32 i32", {"BLOCK": 4096, "place_stride": 1}),
    ("select._keep_largest", "*bf16 i32 i32 i32", {"BLOCK": 1024, "k": 1}),
]


@pytest.mark.parametrize(("name", "types", "constants"), KERNELS)
def test_the_kernel_compiles_for_hopper(name, types, constants, tmp_path, monkeypatch):
    """`types` are those of the arguments that are not constants; an argument that equals 1 is a constant to Triton."""
    triton = pytest.importorskip("triton", "3.3", reason="compiles without a device from triton 3.3 on")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    module, kernel = name.split(".")
    function = getattr(importlib.import_module(f"sae.kernels.cuda.{module}"), kernel)
    typed = iter(types.split())
    signature = {argument: "constexpr" if argument in constants else next(typed) for argument in function.arg_names}
    assert next(typed, None) is None
    source = triton.compiler.ASTSource(function, signature, constexprs=constants)
    compiled = triton.compile(source, target=triton.backends.compiler.GPUTarget("cuda", 90, 32))
    assert compiled.asm["cubin"]
