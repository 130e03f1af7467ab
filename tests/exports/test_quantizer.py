"""Smaller files by llama.cpp's quantiser: how it is found and started, with doubles of it, and itself where it is."""

import sys
from pathlib import Path

import pytest

from haloes.errors import RunError
from haloes.exports.quantization import bound
from haloes.exports.quantizer import check_quantization, quantize

DOUBLE = """
import ctypes, os, sys
from pathlib import Path

LLAMA_FTYPE_MOSTLY_Q4_K_M = 15
begun = []

class llama_model_quantize_params(ctypes.Structure):
    _fields_ = [("nthread", ctypes.c_int32), ("ftype", ctypes.c_int), ("only_copy", ctypes.c_bool)]

def llama_model_quantize_default_params():
    return llama_model_quantize_params(0, 7, False)

def llama_backend_init():
    begun.append(True)

@ctypes.CFUNCTYPE(
    ctypes.c_uint32, ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(llama_model_quantize_params)
)
def llama_model_quantize(source, out, params):
    given = params.contents
    if os.environ.get("DOUBLE") == "fails":
        print("llama_model_quantize: failed to quantize: no such tensor", file=sys.stderr)
        return 1
    if os.environ.get("DOUBLE") == "aborts":
        print("GGML_ASSERT(rows > 0) failed", file=sys.stderr, flush=True)
        os.abort()
    told = f"{Path(os.fsdecode(source)).read_text()}, {given.ftype}, {given.nthread}, {begun}"
    Path(os.fsdecode(out)).write_text(told)
    return 0
"""
"""llama-cpp-python's functions, with the types of C that llama.cpp's have."""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python that has the package llama_cpp, on a machine without the program."""
    (tmp_path / "packages" / "llama_cpp").mkdir(parents=True)
    (tmp_path / "packages" / "llama_cpp" / "__init__.py").write_text(DOUBLE)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    return tmp_path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "größer.gguf").write_text("weights")
    return tmp_path / "größer.gguf"


@pytest.mark.usefixtures("package")
def test_the_package_quantises_where_the_program_is_not(source: Path, tmp_path: Path):
    check_quantization("q4_k_m")
    quantize(source, tmp_path / "small.gguf", "q4_k_m")

    assert (tmp_path / "small.gguf").read_text() == "weights, 15, 0, [True]"
    assert not list(tmp_path.glob("*.log"))


def test_the_program_on_the_path_goes_before_the_package(package: Path, source: Path):
    program = package / "programs" / "llama-quantize"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport sys\nopen(sys.argv[2], 'w').write(sys.argv[3])\n")
    program.chmod(0o755)

    quantize(source, package / "small.gguf", "q4_k_m")

    assert (package / "small.gguf").read_text() == "Q4_K_M"


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("how", "words"), [("fails", "failed to quantize: no such tensor"), ("aborts", r"GGML_ASSERT\(rows > 0\) failed")]
)
def test_what_llama_cpp_says_of_a_failure_is_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, words: str
):
    monkeypatch.setenv("DOUBLE", how)

    with pytest.raises(RunError, match=rf"quantiser \(llama-cpp-python\) cannot make q4_k_m of the model: .*{words}"):
        quantize(source, tmp_path / "small.gguf", "q4_k_m")


@pytest.mark.usefixtures("package")
def test_a_kind_that_this_llama_cpp_does_not_know_is_told(source: Path, tmp_path: Path):
    with pytest.raises(RunError, match=r"cannot make iq4_xs of the model: .*LLAMA_FTYPE_MOSTLY_IQ4_XS"):
        quantize(source, tmp_path / "small.gguf", "iq4_xs")


@pytest.mark.parametrize(
    ("kind", "lost"),
    [
        ("q8_0", 0.091),
        ("q6_k", 0.183),
        ("q5_k_m", 0.573),
        ("q5_0", 0.501),
        ("q4_k_m", 0.486),
        ("iq4_nl", 1.043),
        ("q4_0", 2.458),
        ("q3_k_m", 1.095),
        ("q2_k", 1.33),
    ],
)
def test_what_a_small_model_was_measured_to_lose_is_within_the_bound_of_its_kind(kind: str, lost: float):
    assert lost < bound(kind)
