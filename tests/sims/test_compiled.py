"""C++ at run time: what is compiled once, and what a person reads where it cannot be."""

import os

import pytest

from sims.backends import compiled


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DENDRITIC_CACHE", str(tmp_path))
    return tmp_path / "cpp"


def test_a_library_is_compiled_once_and_again_only_for_another_text(cache):
    source = 'extern "C" int answer() { return 42; }'
    assert compiled.library("answer", source, "test", "none").answer() == 42
    (built,) = cache.glob("*.so")
    before = built.stat().st_mtime_ns
    compiled.library("answer", source, "test", "none")
    assert built.stat().st_mtime_ns == before
    assert compiled.library("answer", source.replace("42", "43"), "test", "none").answer() == 43
    assert len(list(cache.glob("*.so"))) == 2


def test_a_compile_error_names_the_file_and_the_cause_and_leaves_nothing(cache):
    with pytest.raises(
        compiled.BackendError, match=r"cell\.yaml: the C\+\+ made from it does not compile:\n.*undefined_name"
    ):
        compiled.library("bad", "int nonsense = undefined_name;", "cell.yaml", "none")
    assert not list(cache.glob("*.so")) and not [path for path in cache.iterdir() if path.is_dir()]


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/g++")
    with pytest.raises(compiled.BackendError, match="'/nowhere/g\\+\\+' was not found"):
        compiled.compiler()


def test_instructions_that_do_not_exist_here_are_refused(monkeypatch):
    with pytest.raises(compiled.BackendError, match="--simd: found 'mmx'"):
        compiled.check_simd("mmx")
    monkeypatch.setattr(compiled, "widest_simd", lambda: "none")
    with pytest.raises(compiled.BackendError, match="this machine has none at most"):
        compiled.check_simd("avx2")
    compiled.check_simd("none")


def test_the_cache_is_found_beside_the_project_unless_told_otherwise(monkeypatch, tmp_path):
    assert compiled.cache_folder() == tmp_path
    monkeypatch.delenv("DENDRITIC_CACHE")
    assert compiled.cache_folder() == compiled.PROJECT / ".cache" and os.path.isabs(compiled.cache_folder())
